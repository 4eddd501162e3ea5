"""The token mixers that may be chosen by name, and the one place where a choice is put to work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gspn_core.attention.neighborhood import neighborhood_attention
from gspn_core.errors import BadSetting, GspnError, ModelUnavailable
from gspn_core.settings import Mixer

if TYPE_CHECKING:
    from gspn_core.attention.adapter import MixerAdapter


# Whether a mixer runs on trained weights of its own in addition to the model's.
NEEDS_ADAPTER: Mapping[Mixer, bool] = MappingProxyType(
    {"gspn": True, "attention": False, "neighborhood": False, "linear": True}
)

_REMEDY: Mapping[str, str] = MappingProxyType(
    {
        "gspn": "distil one with `python -m gspn_core.training.distill`",
        "linear": "put LinFusion's weights for this model into its folder linfusion",
    }
)
_NONE: Mapping[str, Any] = MappingProxyType({})


@contextmanager
def use_mixer(unet: Any, name: str, adapters: Mapping[str, MixerAdapter] = _NONE) -> Iterator[None]:
    """Run the `with` block with this mixer in the UNet's self-attentions; leave the UNet as it was found.

    Args:
        unet: the UNet2DConditionModel.
        name: a name in NEEDS_ADAPTER.
        adapters: this UNet's trained adapters by the name of their mixer.

    Raises:
        BadSetting: an unknown name.
        ModelUnavailable: an adapter that is needed and missing, or was never trained.
        GspnError: an adapter made for another UNet, or injected already or where it must not be.
    """
    if name not in NEEDS_ADAPTER:
        raise BadSetting("mixer", f"mixer must be one of {', '.join(NEEDS_ADAPTER)}, got {name!r}.")
    if not NEEDS_ADAPTER[name]:
        if any(adapter.is_injected for adapter in adapters.values()):
            raise GspnError(
                f"mixer {name} needs the UNet's own layers, but an adapter is injected; eject it."
            )
        with _own_layers(unet, name):
            yield
        return
    adapter = adapters.get(name)
    if adapter is None:
        raise ModelUnavailable(
            f"mixer {name} needs an adapter trained for this UNet, and there is none; {_REMEDY[name]}."
        )
    if not adapter.trained:
        raise ModelUnavailable(
            f"the {name} adapter was never trained, so its pictures would mean nothing; {_REMEDY[name]}."
        )
    if adapter.unet is not unet:
        raise GspnError(f"the {name} adapter was made for another UNet; load it for this one.")
    with adapter.injected():
        yield


def _own_layers(unet: Any, name: str) -> AbstractContextManager[Any]:
    """Return the context in which the UNet's own attention weights run under a mixer without an adapter."""
    if name == "attention":
        return nullcontext()
    return neighborhood_attention(unet)
