"""The line scan compiled by numba: forward, merge and hand-written backward for tensors on the CPU.

Shares the maps out over threads; `kernels` and `gradients` compute them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gspn_core.ops.cpu import gradients, kernels
from gspn_core.ops.cpu.memory import empty
from gspn_core.ops.cpu.threads import run_parts, threads_for

# Lines per block; a block of columns is as wide as the cache allows, for memory is read along the rows.
_BLOCK = 16
_COLUMN_CELLS = 1 << 14


def forward(
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    direction: str,
    chunk_size: int | None,
    gating: str,
    dtype: torch.dtype,
) -> Tensor:
    """Scan x (B, C, H, W) and return the states in dtype; arguments as `line_scan` checked them."""
    kept = _kept(dtype)
    state = empty(x.shape, kept)
    _scan(state, None, *(t.to(kept) for t in (x, gate, logits)), direction, chunk_size, gating)
    return state.to(dtype)


def merge(
    y: Tensor,
    share: Tensor,
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    direction: str,
    chunk_size: int | None,
    gating: str,
) -> None:
    """Add share·h to y (B, C, H, W), h being the scan of x with what `merge_line_scan` makes of gate."""
    kept = _kept(y.dtype)
    total = y.to(kept)
    tensors = total, *(t.to(kept) for t in (share, x, gate, logits))
    # Parts of one projection lie whole within a sample: read sample by sample they need not be copied.
    whole = all(tensor.is_contiguous() for tensor in tensors)
    for sample in [tensors] if whole else zip(*(t.split(1) for t in tensors), strict=True):
        _scan(*sample, direction, chunk_size, gating)
    if total is not y:
        y.copy_(total)


def _scan(out, share, x, gate, logits, direction, chunk_size, gating) -> None:
    """Scan into out, or add share times the states to it; all of one dtype that the kernels know."""
    inputs = _arrays(x, gate, logits)
    maps = inputs[0].shape
    outputs = _array(out).reshape(maps), None if share is None else _array(share).reshape(maps)
    columns, *settings = _settings(maps, _carry(out), direction, chunk_size, gating)
    scan = kernels.columns if columns else kernels.rows
    _share_out(maps, lambda _, *part: scan(*inputs, *outputs, *part, *settings))


def backward(
    grad: Tensor,
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    state: Tensor,
    direction: str,
    chunk_size: int | None,
    gating: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, gate and logits in the dtype of the carry, given that of the state."""
    carry = _carry(x)
    inputs = _arrays(*(tensor.to(carry) for tensor in (x, gate, logits)))
    maps = inputs[0].shape
    state, grad = (_array(tensor.to(carry)).reshape(maps) for tensor in (state, grad))
    grad_x, grad_gate = (empty(x.shape, carry) for _ in range(2))
    # Channels that share logits and are done by several threads each leave their own sum.
    sums = empty((_channel_parts(maps), *logits.shape), carry)
    outputs = grad_x.numpy().reshape(maps), grad_gate.numpy().reshape(maps)
    partial = sums.numpy().reshape(len(sums), maps[0], 3, *maps[2:])
    columns, *settings = _settings(maps, carry, direction, chunk_size, gating)
    scan = gradients.columns if columns else gradients.rows
    _share_out(maps, lambda k, *part: scan(*inputs, state, grad, *outputs, partial[k], *part, *settings))
    return grad_x, grad_gate, sums[0] if len(sums) == 1 else sums.sum(0)


def _carry(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _kept(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which the kernels read and write what is asked for in dtype."""
    return torch.float32 if dtype == torch.float16 else dtype


def _array(tensor: Tensor) -> np.ndarray:
    """Return a tensor's memory if it is contiguous, a copy's if not; bfloat16 as the bits, in uint16."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


def _arrays(x: Tensor, gate: Tensor, logits: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x and gate as (maps of logits, channels that share one, H, W), logits as (maps, 3, H, W)."""
    B, C, H, W = x.shape
    M = B * logits.shape[1]
    G = C // logits.shape[1] if C else 0
    shape = (M, G, H, W)
    return _array(x).reshape(shape), _array(gate).reshape(shape), _array(logits).reshape(M, 3, H, W)


def _settings(maps: tuple[int, ...], carry: torch.dtype, direction: str, chunk_size: int | None, gating: str):
    """Return what the kernels want: columns?, backwards?, lines per block and chunk, and 1. for convex."""
    H, W = maps[2:]
    columns = direction in ("right", "left")
    size = min(W, max(_BLOCK, _COLUMN_CELLS // H)) if columns else min(H, _BLOCK)
    chunk = chunk_size or max(H, W)
    number = np.float64 if carry == torch.float64 else np.float32
    return columns, direction in ("left", "up"), size, chunk, number(gating == "convex")


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
