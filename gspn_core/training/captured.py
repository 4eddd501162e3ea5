"""Captures the inputs and outputs of named modules during a forward pass."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Captured:
    """The inputs and outputs of a UNet's self-attentions or mixers during one forward pass, by name.

    inputs and outputs: (B, h·w, C); map_sizes: (h, w) of each.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, torch.Tensor] = {}
        self.outputs: dict[str, torch.Tensor] = {}
        self.map_sizes: dict[str, tuple[int, int]] = {}

    @contextmanager
    def of(self, unet: nn.Module, names: Iterable[str]) -> Iterator["Captured"]:
        """Capture the modules of these names during a `with` block."""
        handles = []
        for name in names:
            module = unet.get_submodule(name)
            handles.append(module.register_forward_hook(self._keep(name), with_kwargs=True))
            block = unet.get_submodule(name.split(".transformer_blocks")[0])
            handles.append(block.register_forward_pre_hook(self._keep_size(name)))
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple, kwargs: dict, output: torch.Tensor) -> None:
            self.inputs[name] = args[0] if args else kwargs["hidden_states"]
            self.outputs[name] = output

        return hook

    def _keep_size(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple) -> None:
            self.map_sizes[name] = tuple(args[0].shape[2:])

        return hook
