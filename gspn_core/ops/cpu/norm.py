"""Group normalization and SiLU compiled by numba, for float32 maps on the CPU with their channels last."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gspn_core.ops.cpu import norm_kernels as kernels
from gspn_core.ops.cpu.threads import run_parts, threads_for

# Numbers of a row at most: some vectors, so that entering the loop over a row costs little.
_ROW_NUMBERS = 512
# A smaller map is in the cache, and done sooner than a second thread has started.
_NUMBERS_PER_THREAD = 1 << 21


def forward(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    shift: Tensor | None,
    *,
    inplace: bool,
) -> Tensor:
    """Return silu(group_norm(x + shift)), (B, C, H, W); arguments as `group_norm_silu` has them."""
    B, C, H, W = x.shape
    out = x if inplace else torch.empty_like(x, memory_format=torch.channels_last)
    L = C * _pixels_of_a_row(H * W, C)
    maps, results = (t.permute(0, 2, 3, 1).numpy().reshape(B, -1, L) for t in (x, out))
    offsets = np.zeros((B, C), np.float32) if shift is None else shift.contiguous().numpy()
    blocks = -(-maps.shape[1] // kernels.ROWS)
    sums = np.empty((B, blocks, 2, L), np.float32)
    scale, offset = np.empty((2, B, L), np.float32)
    threads = threads_for(x.numel(), least=_NUMBERS_PER_THREAD)
    cuts = [B * blocks * n // threads for n in range(threads + 1)]
    parts = list(zip(cuts, cuts[1:], strict=False))
    run_parts(lambda *part: kernels.add_up(maps, sums, *part), parts)
    kernels.settle(
        maps, sums, offsets, weight.detach().numpy(), bias.detach().numpy(), groups, eps, scale, offset
    )
    if inplace:
        run_parts(lambda *part: kernels.activate_in_place(maps, scale, offset, *part), parts)
    else:
        run_parts(lambda *part: kernels.activate(maps, scale, offset, results, *part), parts)
    return out


def _pixels_of_a_row(pixels: int, channels: int) -> int:
    """Return the largest power of two that divides the pixels and makes a row of bearable length."""
    return min(math.gcd(pixels, 1 << 16), 1 << max(0, (_ROW_NUMBERS // channels).bit_length() - 1))
