"""The token mixers that a person may choose, and the one place where a choice is put to work.

Knows names and words; free of torch, so that the page may read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gspn_core.errors import BadSetting, GspnError, ModelUnavailable
from gspn_core.settings import Mixer

if TYPE_CHECKING:
    from gspn_core.attention.adapter import GSPNAdapter


@dataclass(frozen=True, kw_only=True)
class MixerChoice:
    """A token mixer as a person sees it.

    Attributes:
        name: the value in Settings.
        label: two or three words.
        description: one sentence on what it does and what it costs.
        needs_adapter: whether it runs on trained weights of its own beside the model's.
    """

    name: Mixer
    label: str
    description: str
    needs_adapter: bool


MIXERS: tuple[MixerChoice, ...] = (
    MixerChoice(
        name="gspn",
        label="GSPN line scan",
        description="Four line scans pass context across the picture; the cost grows with the pixels.",
        needs_adapter=True,
    ),
    MixerChoice(
        name="attention",
        label="Self-attention",
        description="Every patch looks at every other; the cost grows with the square of the pixels.",
        needs_adapter=False,
    ),
    MixerChoice(
        name="neighborhood",
        label="Neighbourhood attention",
        description="Every patch looks at a base-sized window around it, with the model's own weights; "
        "the cost grows with the pixels.",
        needs_adapter=False,
    ),
)


def mixer_choice(name: str) -> MixerChoice:
    """Return the choice of this name.

    Raises:
        BadSetting: an unknown name.
    """
    for choice in MIXERS:
        if choice.name == name:
            return choice
    known = ", ".join(choice.name for choice in MIXERS)
    raise BadSetting("mixer", f"mixer must be one of {known}, got {name!r}.")


@contextmanager
def use_mixer(unet: Any, name: str, adapter: GSPNAdapter | None = None) -> Iterator[None]:
    """Run the `with` block with this mixer in the UNet's self-attentions; leave the UNet as it was found.

    Args:
        unet: the UNet2DConditionModel.
        name: a name in MIXERS.
        adapter: the trained adapter of this UNet, for a mixer that needs one.

    Raises:
        BadSetting: an unknown name.
        ModelUnavailable: an adapter that is needed and missing, or was never trained.
        GspnError: an adapter made for another UNet, or injected already or where it must not be.
    """
    if not mixer_choice(name).needs_adapter:
        if adapter is not None and adapter.is_injected:
            raise GspnError(
                f"mixer {name} needs the UNet's own layers, but an adapter is injected; eject it."
            )
        with _own_layers(unet, name):
            yield
        return
    if adapter is None:
        raise ModelUnavailable(f"mixer {name} needs an adapter trained for this UNet, and there is none; "
                               "distil one with `python -m gspn_core.world.distill`.")  # fmt: skip
    if not adapter.trained:
        raise ModelUnavailable(f"the {name} adapter was never trained, so its pictures would mean nothing; "
                               "distil it with `python -m gspn_core.world.distill`.")  # fmt: skip
    if adapter.unet is not unet:
        raise GspnError(f"the {name} adapter was made for another UNet; load it for this one.")
    with adapter.injected():
        yield


def _own_layers(unet: Any, name: str) -> AbstractContextManager[Any]:
    """Return the context in which the UNet's own attention weights run under a mixer without an adapter."""
    if name == "attention":
        return nullcontext()
    # Here, not above: the page reads this module and has no torch.
    from gspn_core.attention.neighborhood import neighborhood_attention

    return neighborhood_attention(unet)
