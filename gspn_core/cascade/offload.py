"""Put a stage's choices to work: pieces instead of wholes, and weights and maps that are where they must be.

Each is a context that leaves the model as it was found, however its block ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import IO, Any

import torch
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

from gspn_core.attention.neighborhood import NeighborhoodProcessor
from gspn_core.backbones.model import Model
from gspn_core.cascade.fused import fused_autoencoder, fused_layers
from gspn_core.planning.memory import FEED_FORWARD_CHUNKS
from gspn_core.planning.types import MemoryOptions
from gspn_core.runtime.machine import give_back
from gspn_core.runtime.placement import HOST, at_hand

_OFFLOADING = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")
_FLOAT8 = torch.float8_e4m3fn


@contextmanager
def sampling_as(
    model: Model, choices: MemoryOptions, *, refines: bool = False, steering: nn.Module | None = None
) -> Iterator[None]:
    """Sample with the choices: the mixers in place already, the UNet's weights where the choices want them.

    refines: the refiner takes part. steering: a ControlNet or T2I-Adapter, which is on the device meanwhile.
    Serial guidance is the sampler's own matter.
    """
    unet = model.pipeline.unet
    working = (unet, model.refiner) if refines else (unet,)
    with ExitStack() as stack:
        if choices.residency == "group":
            stack.enter_context(at_hand((), model.parts, model.device))
            for part in working:
                stack.enter_context(group_offloaded(part, model.device))
        else:
            stack.enter_context(_there(model, working, choices))
        if steering is not None:
            stack.enter_context(at_hand((steering,), (), model.device))
        if choices.chunked_feed_forward:
            stack.enter_context(chunked_feed_forward(unet))
        if choices.small_blocks:
            stack.enter_context(small_blocks(unet))
        if choices.skips_on_host:
            stack.enter_context(skips_on_host(unet))
        if choices.residency == "device" and not choices.float8_storage:
            # Last, as it leaves alone what runs another way already.
            stack.enter_context(fused_layers(unet))
        yield


@contextmanager
def stored_as(model: Model, choices: MemoryOptions) -> Iterator[None]:
    """Keep the UNet's weights for a whole stage as the choices want them; mixers are in place already."""
    with float8_storage(model.pipeline.unet) if choices.float8_storage else nullcontext():
        yield


@contextmanager
def coding_as(model: Model, choices: MemoryOptions) -> Iterator[None]:
    """Encode or decode with the choices: the autoencoder has the device to itself where they say so."""
    vae = model.pipeline.vae
    with _there(model, (vae,), choices), fused_autoencoder(vae, model.pipeline.unet):
        yield


@contextmanager
def reading_text(model: Model) -> Iterator[None]:
    """Have the text encoders on the device in the `with` block; already there, they stay."""
    with at_hand(model.encoders, (), model.device):
        yield


def _there(
    model: Model, working: tuple[nn.Module, ...], choices: MemoryOptions
) -> AbstractContextManager[None]:
    """Return what has the working parts on the device: with all others, or with it to themselves."""
    if choices.residency == "device":
        return at_hand(model.parts, (), model.device)
    return at_hand(working, model.parts_but(*working), model.device)


@contextmanager
def group_offloaded(unet: nn.Module, device: torch.device | None = None) -> Iterator[None]:
    """Bring each layer's weights to the device when it is its turn, the next one's on a side stream.

    device: where it computes, None for where the UNet is, to which it comes back in any case. A mixer that
    is not diffusers' own comes as a whole, as it reads its layers' weights itself.
    """
    home = unet.device
    device = home if device is None else device
    mixers, hooks = list(_foreign(unet)), []
    try:
        apply_group_offloading(
            unet,
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
            use_stream=device.type == "cuda",
        )
        for mixer in mixers:
            _leave_alone(mixer)
            hooks.append(mixer.register_forward_pre_hook(_bring_to(device)))
            hooks.append(mixer.register_forward_hook(_bring_to(HOST), always_call=True))
        give_back(device)
        yield
    finally:
        for hook in hooks:
            hook.remove()
        _leave_alone(unet)
        unet.to(home)


def _leave_alone(part: nn.Module) -> None:
    """Take back what brings a part's layers to the device one after another."""
    for module in part.modules():
        registry = getattr(module, "_diffusers_hook", None)
        if isinstance(registry, HookRegistry):
            for name in _OFFLOADING:
                registry.remove_hook(name, recurse=False)


def _bring_to(device: torch.device) -> Any:
    def bring(layer: nn.Module, *_: Any) -> None:
        layer.to(device)

    return bring


@contextmanager
def chunked_feed_forward(unet: nn.Module) -> Iterator[None]:
    """Run every feed-forward over some tokens at a time, each into its place of one result."""
    layers = [module for module in unet.modules() if isinstance(module, FeedForward)]
    try:
        for layer in layers:
            layer.forward = _in_chunks(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _in_chunks(layer: FeedForward) -> Any:
    whole = type(layer).forward

    def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        N = hidden_states.shape[1]
        size = -(-N // FEED_FORWARD_CHUNKS)
        result = torch.empty_like(hidden_states)
        for start in range(0, N, size):
            piece = hidden_states[:, start : start + size]
            result[:, start : start + size] = whole(layer, piece, *args, **kwargs)
        return result

    return forward


@contextmanager
def small_blocks(unet: nn.Module) -> Iterator[None]:
    """Let the mixers work on the smallest blocks: one head's channels, one patch's window."""
    changed: list[tuple[Any, str, int | None]] = []
    for module in unet.modules():
        processor = getattr(module, "processor", None)
        if hasattr(module, "block_channels"):
            changed.append((module, "block_channels", module.block_channels))
        elif isinstance(processor, NeighborhoodProcessor):
            changed.append((processor, "block_patches", processor.block_patches))
    try:
        for owner, name, _ in changed:
            setattr(owner, name, 1)
        yield
    finally:
        for owner, name, before in changed:
            setattr(owner, name, before)


@contextmanager
def skips_on_host(unet: nn.Module) -> Iterator[None]:
    """Keep the down blocks' maps on the host until the up block that reads them; pinned where that helps."""

    def leave(_block: nn.Module, _args: tuple, result: tuple[Tensor, tuple[Tensor, ...]]) -> tuple:
        sample, skips = result
        return sample, tuple(map(_to_host, skips))

    def fetch(_block: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        sample = kwargs["hidden_states"]
        skips = tuple(s.to(sample.device, non_blocking=True) for s in kwargs["res_hidden_states_tuple"])
        return args, {**kwargs, "res_hidden_states_tuple": skips}

    hooks = [block.register_forward_hook(leave) for block in unet.down_blocks]
    hooks += [block.register_forward_pre_hook(fetch, with_kwargs=True) for block in unet.up_blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _to_host(skip: Tensor) -> Tensor:
    if skip.device.type == "cpu":
        return skip
    layout = torch.channels_last if skip.is_contiguous(memory_format=torch.channels_last) else None
    host = torch.empty(
        skip.shape, dtype=skip.dtype, pin_memory=True, memory_format=layout or torch.contiguous_format
    )
    # Waiting here lets the device's copy be freed at once.
    host.copy_(skip)
    return host


@contextmanager
def float8_storage(unet: nn.Module) -> Iterator[None]:
    """Keep the blocks' weights in eight bits, each widened while its layer works; a mixer's stay as they are.

    The weights in full wait in a file outside of memory and come back unchanged.
    """
    layers = list(_narrowable(unet))
    kept: list[Tensor] = []
    hooks = []
    with tempfile.TemporaryFile() as file:
        try:
            for layer in layers:
                full = layer.weight.data
                _write(file, full)
                kept.append(full.to("meta"))
                layer.weight.data = full.to(_FLOAT8)
                hooks += [
                    layer.register_forward_pre_hook(_widen(full.dtype)),
                    layer.register_forward_hook(_narrow(layer.weight.data), always_call=True),
                ]
                del full
            give_back(unet.device)
            yield
        finally:
            for hook in hooks:
                hook.remove()
            file.seek(0)
            for layer, like in zip(layers, kept, strict=False):
                layer.weight.data = _read(file, like).to(layer.weight.device)


def _narrowable(unet: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks' linear layers and convolutions, but none of a module that is not diffusers' own."""
    pending: list[nn.Module] = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    while pending:
        module = pending.pop()
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            yield module
        elif _is_diffusers_own(module):
            pending.extend(module.children())


def _foreign(unet: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a UNet that are not diffusers' own, each as a whole."""
    pending = list(unet.children())
    while pending:
        module = pending.pop()
        if _is_diffusers_own(module):
            pending.extend(module.children())
        else:
            yield module


def _is_diffusers_own(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("diffusers.", "torch."))


def _write(file: IO[bytes], full: Tensor) -> None:
    """Write a tensor's numbers in the order of its memory."""
    dense = full.cpu().clone(memory_format=torch.preserve_format)
    file.write(torch.empty(0, dtype=torch.uint8).set_(dense.untyped_storage()).numpy().tobytes())


def _read(file: IO[bytes], like: Tensor) -> Tensor:
    """Return the tensor that was written, with the shape, strides and dtype of `like`."""
    full = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)
    memory = torch.empty(0, dtype=torch.uint8).set_(full.untyped_storage())
    file.readinto(memory.numpy())
    return full


def _widen(dtype: torch.dtype) -> Any:
    def widen(layer: nn.Module, _args: tuple) -> None:
        layer.weight.data = layer.weight.data.to(dtype)

    return widen


def _narrow(stored: Tensor) -> Any:
    def narrow(layer: nn.Module, _args: tuple, _result: Any) -> None:
        layer.weight.data = stored

    return narrow
