"""What every backend of the line scan is handed: inputs that were checked, and the scan in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from gspn_core.errors import BadSetting, BadTensor

Direction = Literal["right", "left", "down", "up"]
Gating = Literal["free", "convex"]

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
GATINGS: tuple[Gating, ...] = get_args(Gating)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan of x (B, sets·group, H, W), as a backend reads it.

    Attributes:
        maps: B·sets, the maps of logits in the whole batch.
        sets: maps of logits in a sample.
        group: channels that share one map of logits.
        height, width: H and W.
        columns: whether lines are columns (right, left) or rows (down, up).
        backwards: whether the state travels from the last line to the first (left, up).
        chunk: lines between restarts, at most all of them.
        convex: whether a state keeps 1 - gate of its neighbours' mean.
        carry: the dtype of the state, float32 or, for float64 inputs, float64.
    """

    maps: int
    sets: int
    group: int
    height: int
    width: int
    columns: bool
    backwards: bool
    chunk: int
    convex: bool
    carry: torch.dtype

    @property
    def lines(self) -> int:
        """Return the number of lines."""
        return self.width if self.columns else self.height

    @property
    def length(self) -> int:
        """Return the cells of a line."""
        return self.height if self.columns else self.width


def prepare(
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    *,
    direction: str,
    chunk_size: int | None,
    gating: str,
    sets: bool = False,
) -> Scan:
    """Check the arguments of `line_scan`, and return the scan that they ask for.

    Args:
        x, gate, logits, direction, chunk_size, gating: as `line_scan` has them.
        sets: whether logits may be (B, S, 3, H, W) for any S that divides C.

    Raises:
        BadTensor: a shape, dtype or device that does not fit.
        BadSetting: an unknown direction or gating, or a chunk_size below 1.
    """
    _check_settings(direction, chunk_size, gating)
    _check_tensors(x, gate, logits, sets=sets)
    B, C, H, W = x.shape
    columns = direction in ("right", "left")
    lines = W if columns else H
    return Scan(
        maps=B * logits.shape[1],
        sets=logits.shape[1],
        group=C // logits.shape[1] if C else 0,
        height=H,
        width=W,
        columns=columns,
        backwards=direction in ("left", "up"),
        chunk=min(chunk_size or lines, lines),
        convex=gating == "convex",
        carry=torch.float64 if x.dtype == torch.float64 else torch.float32,
    )


def _check_settings(direction: str, chunk_size: int | None, gating: str) -> None:
    for name, value, known in (("direction", direction, DIRECTIONS), ("gating", gating, GATINGS)):
        if value not in known:
            raise BadSetting(name, f"{name} must be one of {', '.join(known)}, got {value!r}.")
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise BadSetting(
            "chunk_size", f"chunk_size must be at least 1 line, got {chunk_size!r}; None scans edge to edge."
        )


def _check_tensors(x: Tensor, gate: Tensor, logits: Tensor, *, sets: bool) -> None:
    if x.ndim != 4 or 0 in x.shape[2:]:
        raise BadTensor(f"x must be (B, C, H, W) with at least one line, got {tuple(x.shape)}.")
    B, C, H, W = x.shape
    if gate.shape != x.shape:
        raise BadTensor(f"gate must have the shape of x, {tuple(x.shape)}, got {tuple(gate.shape)}.")
    shared = (
        logits.shape[1] if sets and logits.ndim == 5 and logits.shape[1] and C % logits.shape[1] == 0 else 1
    )
    if logits.shape not in ((B, C, 3, H, W), (B, shared, 3, H, W)):
        raise BadTensor(
            f"logits must be {(B, C, 3, H, W)}, or {(B, shared, 3, H, W)} if shared, "
            f"got {tuple(logits.shape)}."
        )
    if not (x.dtype == gate.dtype == logits.dtype and x.dtype.is_floating_point):
        raise BadTensor(
            "x, gate and logits must have one floating dtype, "
            f"got {x.dtype}, {gate.dtype} and {logits.dtype}; cast them first."
        )
    if not x.device == gate.device == logits.device:
        raise BadTensor(
            "x, gate and logits must be on one device, "
            f"got {x.device}, {gate.device} and {logits.device}; move them first."
        )
