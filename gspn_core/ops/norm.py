"""Group normalization and SiLU as a residual block uses them: one pass to add up, one to write.

Plain torch takes four (sums, normalize, and the activation's read and write), and a fifth where the time's
embedding is added before.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# A smaller map stays in the cache between torch's passes, which are as fast then.
_LEAST_NUMBERS = 1 << 20


def group_norm_silu(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float,
    shift: Tensor | None = None,
    inplace: bool = False,
) -> Tensor:
    """Return silu(group_norm(x + shift)): GroupNorm (Wu and He 2018, arXiv 1803.08494), then y·sigmoid(y).

    On the CPU, in float32 without gradients, a map with its channels last is read twice and written once.

    Args:
        x: (B, C, H, W).
        groups: divides C; mean and variance are taken of C / groups channels and all pixels.
        weight: (C,).
        bias: (C,).
        eps: added to the variance.
        shift: (B, C), added to every pixel; None for nothing.
        inplace: whether x may hold the result.

    Returns:
        (B, C, H, W) in the dtype of x.
    """
    if _has_kernel(x):
        # Imported at its first use, as importing this module must not import numba.
        from gspn_core.ops.cpu import norm

        return norm.forward(x, groups, weight, bias, eps, shift, inplace=inplace)
    if shift is not None:
        shift = shift[:, :, None, None]
        x = x.add_(shift) if inplace else x + shift
    return functional.silu(functional.group_norm(x, groups, weight, bias, eps), inplace=True)


def _has_kernel(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() >= _LEAST_NUMBERS
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_grad_enabled()
    )
