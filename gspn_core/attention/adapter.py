"""An adapter: a mixer for every self-attention of a UNet, put in and taken out exactly.

Knows where a diffusers UNet keeps its self-attentions and how their maps' height and width are learnt. What
mixers compute and how they are kept on disk is each kind's own (`gspn_adapter`, `linear_adapter`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Protocol

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from gspn_core.errors import AdapterMismatch, GspnError


class MixerAdapter:
    """Mixers for the self-attentions (`attn1`) of a UNet, or some of them; it owns the UNet while injected.

    Attributes:
        title: what messages call this kind of adapter.
        trained: whether the mixers have learnt to stand in for the attention.
    """

    title = "mixer"

    def __init__(self, unet: nn.Module, mixers: Mapping[str, nn.Module]) -> None:
        """Adopt ready mixers, named by their attention's place in the UNet; AdapterMismatch for none."""
        if not mixers:
            raise AdapterMismatch(f"{type(unet).__name__} has no self-attention blocks to replace.")
        self.unet, self.trained = unet, False
        self._mixers = dict(mixers)
        self._originals: dict[str, nn.Module] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    @property
    def mixers(self) -> Mapping[str, nn.Module]:
        """Mixers by the name of the attention they replace, in the UNet's order."""
        return MappingProxyType(self._mixers)

    @property
    def is_injected(self) -> bool:
        return bool(self._originals)

    @property
    def _want_sizes(self) -> dict[str, nn.Module]:
        """Return the mixers that must know the height and width of their maps."""
        return {name: mixer for name, mixer in self._mixers.items() if hasattr(mixer, "map_size")}

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the mixers' parameters, and nothing of the UNet."""
        for mixer in self._mixers.values():
            yield from mixer.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Return all mixers' tensors, named by attention and parameter."""
        return {
            f"{name}.{key}": tensor
            for name, mixer in self._mixers.items()
            for key, tensor in mixer.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy tensors named as in `state_dict` into the mixers.

        Raises:
            AdapterMismatch: names or shapes that differ; nothing is copied then.
        """
        mine = self.state_dict()
        self._refuse_differences(
            {name: tuple(tensor.shape) for name, tensor in state.items()},
            {name: tuple(tensor.shape) for name, tensor in mine.items()},
        )
        with torch.no_grad():
            for name, tensor in mine.items():
                tensor.copy_(state[name])

    def to(self, *args, **kwargs) -> MixerAdapter:
        """Move or cast the mixers, as `nn.Module.to` does."""
        for mixer in self._mixers.values():
            mixer.to(*args, **kwargs)
        return self

    def train(self, mode: bool = True) -> MixerAdapter:
        """Set the mixers' training mode."""
        for mixer in self._mixers.values():
            mixer.train(mode)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> MixerAdapter:
        """Set whether the mixers' parameters want gradients."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def inject(self) -> MixerAdapter:
        """Put the mixers in place of the self-attentions, on the same device.

        Raises:
            GspnError: this adapter or another is injected already.
            AdapterMismatch: the UNet's self-attentions are no longer those the adapter was made for.
        """
        if self.is_injected:
            raise GspnError(f"the {self.title} adapter is injected already; eject it first.")
        originals = self_attentions(self.unet)
        if not all(isinstance(module, Attention) for module in originals.values()):
            raise GspnError("another adapter is injected into this UNet; eject that one first.")
        originals = {name: module for name, module in originals.items() if name in self._mixers}
        self._refuse_differences(dict.fromkeys(self._mixers, ()), dict.fromkeys(originals, ()))
        self._hooks = hook_map_sizes(self.unet, self._want_sizes)
        for name, mixer in self._mixers.items():
            _follow(mixer, originals[name])
            self.unet.set_submodule(name, mixer)
        self._originals = originals
        return self

    def eject(self) -> None:
        """Put the very modules back that `inject` replaced, where the UNet is by then, and remove its hooks.

        Raises:
            GspnError: the adapter is not injected.
        """
        if not self.is_injected:
            raise GspnError(f"the {self.title} adapter is not injected; inject it first.")
        for handle in self._hooks:
            handle.remove()
        self._hooks.clear()
        for name, original in self._originals.items():
            _follow(original, self._mixers[name])
            self.unet.set_submodule(name, original)
        self._originals = {}
        for mixer in self._want_sizes.values():
            mixer.map_size = None

    @contextmanager
    def injected(self) -> Iterator[MixerAdapter]:
        """Inject for the length of a `with` block; eject however it ends."""
        self.inject()
        try:
            yield self
        finally:
            self.eject()

    def warm_up(self) -> None:
        """Do what makes a first use slow, where there is such a thing, before the first picture."""

    def _refuse_differences(self, got: Mapping[str, tuple], needed: Mapping[str, tuple]) -> None:
        """Raise AdapterMismatch with the first names or shapes that the adapter and the UNet do not share."""
        wrong = [f"{name} is missing" for name in needed if name not in got]
        wrong += [f"{name} has no place in the UNet" for name in got if name not in needed]
        wrong += [
            f"{name} is {got[name]}, the UNet needs {needed[name]}"
            for name in needed
            if name in got and got[name] != needed[name]
        ]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise AdapterMismatch(
                f"the {self.title} adapter does not fit this UNet: {'; '.join(wrong[:3])}{more}."
            )


def self_attentions(unet: nn.Module) -> dict[str, nn.Module]:
    """Return every block's self-attention by its dotted name, in the UNet's order."""
    return {
        f"{name}.attn1": module.attn1
        for name, module in unet.named_modules()
        if isinstance(module, BasicTransformerBlock)
    }


def _follow(module: nn.Module, other: nn.Module) -> None:
    """Move a module to the device of the one in whose place it is put: a UNet may move in between."""
    device = next(other.parameters()).device
    if device.type != "meta" and next(module.parameters()).device != device:
        module.to(device)


class _HasMapSize(Protocol):
    map_size: tuple[int, int] | None


def hook_map_sizes(
    unet: nn.Module, layers: Mapping[str, _HasMapSize]
) -> list[torch.utils.hooks.RemovableHandle]:
    """Tell layers, named by their attention's place in the UNet, the height and width of every map they get.

    Returns:
        the hooks, one per Transformer2DModel; whoever asked for them removes them.
    """

    def tell(inside: list[_HasMapSize]):
        def hook(_module, args, kwargs):
            hidden_states = args[0] if args else kwargs["hidden_states"]
            for layer in inside:
                layer.map_size = tuple(hidden_states.shape[-2:])

        return hook

    return [
        module.register_forward_pre_hook(
            tell([layer for key, layer in layers.items() if key.startswith(f"{name}.")]), with_kwargs=True
        )
        for name, module in unet.named_modules()
        if isinstance(module, Transformer2DModel)
    ]
