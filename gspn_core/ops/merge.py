"""The line scan as a mixer uses it: gates as their sigmoid's argument, the states weighed and added up.

Where a backend can (Triton), sigmoid, scan and sum are one kernel that stores neither gates nor states.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gspn_core.errors import BadTensor
from gspn_core.ops.line_scan import Backend, backend_for, line_scan
from gspn_core.ops.prepare import Direction, Gating, Scan, prepare


def merge_line_scan(
    y: Tensor,
    share: Tensor,
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    *,
    direction: Direction,
    chunk_size: int | None = None,
    gating: Gating = "free",
    backend: Backend = "auto",
) -> Tensor:
    """Return y + share·h, with h the line scan of x; without gradients y itself, changed.

        gate' = gate                                                                     gating="free"
        gate' = sigmoid(gate), and 1 on the lines at which the state starts              gating="convex"
        h = line_scan(x, gate', logits)

    In the convex form every state is then a weighted mean of x, as if the first line went on for ever beyond
    the edge.

    Args:
        y: (B, C, H, W), contiguous; in the dtype of x.
        share: (B, C, H, W).
        x: (B, C, H, W).
        gate: (B, C, H, W), any real.
        logits: (B, S, 3, H, W) where S divides C: each of S runs of C/S channels shares one set.
        direction, chunk_size, gating, backend: as for `line_scan`.

    Returns:
        (B, C, H, W) in the dtype of x.

    Raises:
        BadTensor: a shape, dtype or device that does not fit.
        BadSetting: an unknown direction, gating or backend, or a chunk_size below 1.
    """
    scan = prepare(x, gate, logits, direction=direction, chunk_size=chunk_size, gating=gating, sets=True)
    _check_like(x, y=y, share=share)
    module = backend_for(x.device, backend)
    grows = torch.is_grad_enabled() and any(t.requires_grad for t in (y, share, x, gate, logits))
    if hasattr(module, "merge") and not grows and y.is_contiguous():
        module.merge(y, share, x, gate, logits, scan)
        return y
    if scan.convex:
        gate = _start_at_one(gate.sigmoid(), scan)
    # Sets of logits go into the batch, where each is shared by all of its channels.
    maps = (scan.maps, scan.group, scan.height, scan.width)
    state = line_scan(
        x.reshape(maps),
        gate.reshape(maps),
        logits.reshape(scan.maps, 1, 3, scan.height, scan.width),
        direction=direction,
        chunk_size=chunk_size,
        gating=gating,
        backend=backend,
    ).reshape(x.shape)
    return torch.addcmul(y, share, state) if grows else y.addcmul_(share, state)


def _check_like(x: Tensor, **others: Tensor) -> None:
    """Raise BadTensor where another tensor differs from x in shape, dtype or device."""
    for name, tensor in others.items():
        if (tensor.shape, tensor.dtype, tensor.device) != (x.shape, x.dtype, x.device):
            raise BadTensor(
                f"{name} must be like x, {tuple(x.shape)} {x.dtype} on {x.device}, "
                f"got {tuple(tensor.shape)} {tensor.dtype} on {tensor.device}."
            )


def _start_at_one(gate: Tensor, scan: Scan) -> Tensor:
    """Return gate (B, C, H, W), which may change, with ones on the lines at which the state starts."""
    starts = torch.arange(0, scan.lines, scan.chunk, device=gate.device)
    if scan.backwards:
        starts = scan.lines - 1 - starts
    fill = gate.index_fill if torch.is_grad_enabled() else gate.index_fill_
    return fill(-1 if scan.columns else -2, starts, 1)
