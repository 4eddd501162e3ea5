"""The line scan: its contract, the choice of a backend, and the gradient.

Knows which backends exist; how a line is computed is theirs (`naive`, `cpu`, `triton`), and what they are
handed is `prepare`'s. A backend is imported at its first use, so that importing this module neither compiles
nor imports numba or Triton.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from gspn_core.errors import BadSetting
from gspn_core.ops.prepare import Direction, Gating, prepare

Backend = Literal["auto", "naive", "cpu", "triton"]

# A backend's module has `forward` and, unless autograd can follow its forward, `backward`; one that needs no
# state in memory to add it up has `merge`.
_MODULES = {
    "naive": "gspn_core.ops.naive",
    "cpu": "gspn_core.ops.cpu.scan",
    "triton": "gspn_core.ops.triton.scan",
}

log = logging.getLogger(__name__)


def line_scan(
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    *,
    direction: Direction,
    chunk_size: int | None = None,
    gating: Gating = "free",
    backend: Backend = "auto",
) -> Tensor:
    """Carry a state along one axis, line by line; each cell takes from three neighbours of the line before.

        m[i, j] = w_prev[i, j]·h[i-1, j-1] + w_same[i, j]·h[i-1, j] + w_next[i, j]·h[i-1, j+1]
        h[i, j] = m[i, j] + gate[i, j]·x[i, j]                             gating="free"
        h[i, j] = (1 - gate[i, j])·m[i, j] + gate[i, j]·x[i, j]            gating="convex"

    with w = sigmoid(logits) divided by its sum over the neighbours that exist, so that m is a weighted mean
    (GSPN, arXiv 2501.12381, section 3). Every `chunk_size` lines, counted in the direction of travel, the
    state restarts with m = 0. It is carried in float32, or in float64 for float64 inputs.

    Args:
        x: (B, C, H, W), float16, bfloat16, float32 or float64.
        gate: (B, C, H, W), read at the pixel it belongs to; any real, or in (0, 1) for convex.
        logits: (B, C, 3, H, W), or (B, 1, 3, H, W) shared by all channels: previous, same and next neighbour
            across the line (rows h-1, h, h+1 for right and left, columns w-1, w, w+1 for down and up).
        direction: where the state travels: "right", "left", "down" or "up".
        chunk_size: lines between restarts, None for one run from edge to edge.
        gating: "free" grows linearly with the length at worst, "convex" is bounded by max|x|.
        backend: "naive" is the formula in torch, "cpu" is numba, "triton" is for CUDA cards, "auto"
            is the fastest for the device.

    Returns:
        (B, C, H, W) in the dtype of x, differentiable once in x, gate and logits (naive: any time).

    Raises:
        BadTensor: a shape, dtype or device that does not fit.
        BadSetting: an unknown direction, gating or backend, or a chunk_size below 1.
    """
    scan = prepare(x, gate, logits, direction=direction, chunk_size=chunk_size, gating=gating)
    module = backend_for(x.device, backend)
    wants_gradients = torch.is_grad_enabled() and any(t.requires_grad for t in (x, gate, logits))
    if wants_gradients and hasattr(module, "backward"):
        return _LineScan.apply(x, gate, logits, module, scan)
    return module.forward(x, gate, logits, scan, x.dtype)


def backend_for(device: torch.device, backend: Backend) -> ModuleType:
    """Return the module of a backend, or of the fastest one for a device.

    Raises:
        BadSetting: an unknown backend, or one that cannot work on the device.
    """
    known = ("auto", *_MODULES)
    if backend not in known:
        raise BadSetting("backend", f"backend must be one of {', '.join(known)}, got {backend!r}.")
    name = _fastest(device.type) if backend == "auto" else backend
    if name == "cpu" and device.type != "cpu":
        raise BadSetting("backend", f"backend 'cpu' needs tensors on the cpu, got {device}; use 'auto'.")
    if name == "triton":
        if not _triton_is_there():
            raise BadSetting(
                "backend", "backend 'triton' needs the package triton; install it, or use 'auto'."
            )
        if not import_module(_MODULES[name]).usable(device):
            raise BadSetting(
                "backend", f"backend 'triton' needs tensors on a cuda device, got {device}; use 'auto'."
            )
    return import_module(_MODULES[name])


def _fastest(device_type: str) -> str:
    if device_type == "cuda":
        return "triton" if _triton_is_there() else "naive"
    return "cpu" if device_type == "cpu" else "naive"


@cache
def _triton_is_there() -> bool:
    try:
        import_module("triton")
    except ImportError as error:
        log.warning("Triton is missing, so line scans on this card run line by line in torch: %s", error)
        return False
    return True


class _LineScan(torch.autograd.Function):
    """Join a backend's forward and backward; the latter gets the state in the dtype it was carried in."""

    @staticmethod
    def forward(ctx, x, gate, logits, module, scan):
        state = module.forward(x, gate, logits, scan, scan.carry)
        ctx.save_for_backward(x, gate, logits, state)
        ctx.module, ctx.scan = module, scan
        return state.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, gate, logits, state = ctx.saved_tensors
        grads = ctx.module.backward(grad, x, gate, logits, state, ctx.scan)
        return *(grad.to(x.dtype) for grad in grads), None, None
