"""Predictions of the UNet: classifier-free guidance, the blurred input and the dilated convolutions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn import functional

from gspn_core.cascade.conditioning import Conditioning
from gspn_core.settings import DilationScope


def guided_noise_pred(
    unet: UNet2DConditionModel,
    model_input: torch.Tensor,
    timestep: torch.Tensor,
    conditioning: Conditioning,
    guidance_scale: float,
    *,
    serial: bool = False,
) -> torch.Tensor:
    """Return the guided prediction, float32 (1, 4, h, w): u + g·(p - u), or p alone where g is 1.

    model_input (1, 4, h, w) is already scaled by the scheduler; both halves of the pair run as one batch, or
    one after the other where serial.
    """
    if guidance_scale == 1.0:
        return _noise_pred(unet, model_input, timestep, conditioning.positive_only())
    if serial:
        unconditional = _noise_pred(unet, model_input, timestep, conditioning.negative_only())
        conditional = _noise_pred(unet, model_input, timestep, conditioning.positive_only())
    else:
        unconditional, conditional = _noise_pred(unet, model_input, timestep, conditioning).chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)


def _noise_pred(
    unet: UNet2DConditionModel, model_input: torch.Tensor, timestep: torch.Tensor, rows: Conditioning
) -> torch.Tensor:
    """Return the prediction for every row of the conditioning, float32 (rows, 4, h, w)."""
    return unet(
        model_input.to(unet.dtype).expand(len(rows.prompt_embeds), -1, -1, -1),
        timestep,
        encoder_hidden_states=rows.prompt_embeds,
        added_cond_kwargs={"text_embeds": rows.pooled_prompt_embeds, "time_ids": rows.add_time_ids},
        return_dict=False,
    )[0].float()


def gaussian_blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return x, (B, C, H, W), blurred by a Gaussian of `sigma` pixels; borders reflect: a flat map stays."""
    C, H, W = x.shape[1:]
    for length, shape in ((H, (-1, 1)), (W, (1, -1))):
        radius = min(math.ceil(3 * sigma), length - 1)
        if radius < 1:
            continue
        offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        weight = (kernel / kernel.sum()).view(1, 1, *shape).expand(C, 1, -1, -1)
        pad = (0, 0, radius, radius) if shape[0] == -1 else (radius, radius, 0, 0)
        x = functional.conv2d(functional.pad(x, pad, mode="reflect"), weight, groups=C)
    return x


def match_statistics(x: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return x, (B, C, H, W), with its mean and standard deviation per channel set to the reference's."""
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
    wanted_mean, wanted_std = reference.mean((2, 3), keepdim=True), reference.std((2, 3), keepdim=True)
    return (x - mean) / std.clamp_min(1e-6) * wanted_std + wanted_mean


@contextmanager
def dilated_convolutions(unet: UNet2DConditionModel, dilation: int, scope: DilationScope) -> Iterator[None]:
    """Widen the UNet's 3×3 convolutions by `dilation` while the context is open; always restores them.

    scope "down" takes the down blocks and the middle block (FreeScale's restraint), "all" the up blocks too.
    Convolutions with a stride keep their grid and are left alone.
    """
    blocks = [*unet.down_blocks, unet.mid_block, *(unet.up_blocks if scope == "all" else ())]
    changed = [
        module
        for block in blocks
        for module in block.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) and module.stride == (1, 1)
    ]
    before = [(module.dilation, module.padding) for module in changed]
    try:
        for module in changed:
            module.dilation = module.padding = (dilation, dilation)
        yield
    finally:
        for module, (old_dilation, old_padding) in zip(changed, before, strict=True):
            module.dilation, module.padding = old_dilation, old_padding
