"""Dilated convolutions: a UNet that sees as far at a larger size as it did where it was trained.

Scopes: "down" the down blocks and the middle block (restrained dilation), "deep" the residual convolutions of
the last down block, the downsampler before it and the middle block (FreeScale, arXiv 2412.09626), "all" every
block's 3×3 convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers import UNet2DConditionModel
from torch import nn

from gspn_core.attention.neighborhood import strided_windows
from gspn_core.settings import DilationScope


@contextmanager
def dilated(unet: UNet2DConditionModel, factor: int, scope: DilationScope) -> Iterator[None]:
    """Widen the UNet's 3×3 convolutions by `factor` while the context is open; always restores them.

    Neighbourhood attention, where it is in use, strides over the whole map meanwhile instead of looking into
    windows.
    """
    changed = dilated_layers(unet, scope)
    before = [(module.dilation, module.padding) for module in changed]
    try:
        for module in changed:
            module.dilation = module.padding = (factor, factor)
        with strided_windows(unet):
            yield
    finally:
        for module, (old_dilation, old_padding) in zip(changed, before, strict=True):
            module.dilation, module.padding = old_dilation, old_padding


def dilated_layers(unet: UNet2DConditionModel, scope: DilationScope) -> list[nn.Conv2d]:
    """Return the convolutions of a scope. Those with a stride keep their grid, but for "deep"'s one."""
    if scope == "deep":
        *_, last = unet.down_blocks
        parts = [last.resnets, unet.mid_block.resnets]
        before = unet.down_blocks[-2] if len(unet.down_blocks) > 1 else None
        if before is not None and before.downsamplers is not None:
            parts.append(before.downsamplers)
        return [module for part in parts for module in _convolutions(part)]
    blocks = [*unet.down_blocks, unet.mid_block, *(unet.up_blocks if scope == "all" else ())]
    return [module for block in blocks for module in _convolutions(block) if module.stride == (1, 1)]


def _convolutions(part: nn.Module) -> list[nn.Conv2d]:
    return [m for m in part.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
