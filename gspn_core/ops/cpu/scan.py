"""The line scan compiled by numba: forward, merge and hand-written backward for tensors on the CPU.

Shares the maps out over threads; `kernels` and `gradients` compute them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gspn_core.ops.cpu import gradients, kernels
from gspn_core.ops.cpu.threads import run_parts, threads_for
from gspn_core.ops.prepare import Scan

# Lines per block; a block of columns is as wide as the cache allows, for memory is read along the rows.
_BLOCK = 16
_COLUMN_CELLS = 1 << 14


def forward(
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    scan: Scan,
    dtype: torch.dtype,
) -> Tensor:
    """Scan x (B, C, H, W) and return the states in dtype; arguments as `prepare` checked them."""
    kept = _kept(dtype)
    state = torch.empty(x.shape, dtype=kept)
    _scan(state, None, *(t.to(kept) for t in (x, gate, logits)), scan)
    return state.to(dtype)


def merge(
    y: Tensor,
    share: Tensor,
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    scan: Scan,
) -> None:
    """Add share·h to y (B, C, H, W), h being the scan of x with what `merge_line_scan` makes of gate."""
    kept = _kept(y.dtype)
    total = y.to(kept)
    tensors = total, *(t.to(kept) for t in (share, x, gate, logits))
    # Parts of one projection are contiguous within a sample: read sample by sample they need not be copied.
    whole = all(tensor.is_contiguous() for tensor in tensors)
    for sample in [tensors] if whole else zip(*(t.split(1) for t in tensors), strict=True):
        _scan(*sample, scan)
    if total is not y:
        y.copy_(total)


def _scan(out, share, x, gate, logits, scan: Scan) -> None:
    """Scan into out, or add share times the states to it; all of one dtype that the kernels know."""
    inputs, maps = _arrays(x, gate, logits)
    outputs = _array(out).reshape(maps), None if share is None else _array(share).reshape(maps)
    kernel, settings = (kernels.columns if scan.columns else kernels.rows), _settings(scan)
    _share_out(maps, lambda _, *part: kernel(*inputs, *outputs, *part, *settings))


def backward(
    grad: Tensor,
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    state: Tensor,
    scan: Scan,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, gate and logits in the dtype of the carry, given that of the state."""
    inputs, maps = _arrays(*(tensor.to(scan.carry) for tensor in (x, gate, logits)))
    state, grad = (_array(tensor.to(scan.carry)).reshape(maps) for tensor in (state, grad))
    grad_x, grad_gate = (torch.empty(x.shape, dtype=scan.carry) for _ in range(2))
    # Channels that share logits and are done by several threads each leave their own sum.
    sums = torch.empty((_channel_parts(maps), *logits.shape), dtype=scan.carry)
    outputs = grad_x.numpy().reshape(maps), grad_gate.numpy().reshape(maps)
    partial = sums.numpy().reshape(len(sums), maps[0], 3, *maps[2:])
    kernel, settings = (gradients.columns if scan.columns else gradients.rows), _settings(scan)
    _share_out(maps, lambda k, *part: kernel(*inputs, state, grad, *outputs, partial[k], *part, *settings))
    return grad_x, grad_gate, sums[0] if len(sums) == 1 else sums.sum(0)


def _kept(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which the kernels read and write what is asked for in dtype."""
    return torch.float32 if dtype == torch.float16 else dtype


def _array(tensor: Tensor) -> np.ndarray:
    """Return a tensor's memory if it is contiguous, a copy's if not; bfloat16 as the bits, in uint16."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


def _arrays(x: Tensor, gate: Tensor, logits: Tensor) -> tuple[tuple[np.ndarray, ...], tuple[int, ...]]:
    """Return x and gate as maps of logits, channels that share one, H, W; logits so; and that shape.

    A part of a batch, too, so the number of maps is not the whole scan's.
    """
    B, C, H, W = x.shape
    M = B * logits.shape[1]
    maps = (M, C // logits.shape[1] if C else 0, H, W)
    return (_array(x).reshape(maps), _array(gate).reshape(maps), _array(logits).reshape(M, 3, H, W)), maps


def _settings(scan: Scan):
    """Return what the kernels want: backwards?, lines per block, lines per chunk, and 1. for convex."""
    size = min(scan.lines, max(_BLOCK, _COLUMN_CELLS // scan.length) if scan.columns else _BLOCK)
    number = np.float64 if scan.carry == torch.float64 else np.float32
    return scan.backwards, size, scan.chunk, number(scan.convex)


def _channel_parts(maps: tuple[int, ...]) -> int:
    """Return in how many parts the channels of one logits map are done; 1 if the maps go round."""
    M, G = maps[:2]
    return max(1, min(G, -(-threads_for(math.prod(maps)) // max(1, M))))


def _share_out(maps: tuple[int, ...], work) -> None:
    """Call work(channel part, first map, end map, first channel, end channel) for every part, on threads."""
    M, G = maps[:2]
    K = _channel_parts(maps)
    S = max(1, min(M, threads_for(math.prod(maps)) // K))
    parts = [
        (k, M * s // S, M * (s + 1) // S, G * k // K, G * (k + 1) // K) for s in range(S) for k in range(K)
    ]
    run_parts(work, parts)
