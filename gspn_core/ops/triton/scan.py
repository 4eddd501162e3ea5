"""The line scan by Triton: how maps, lines and tiles are shared out over programs, forward and backward.

A scan reads x, gate and its share of three logits once and writes h once, whatever the direction; the rest
stays on the chip. What a cell needs of its neighbours in the line before is had in one of three ways:

- Lines of up to _TILE cells: one program holds whole lines, and exchanges neighbours within itself. At
  1024² × 8 × 16 that is 128 programs, about one for each multiprocessor, each with a block of four lines
  (80 KiB in float32) on the way while another is computed; 320 scanned channels of an SDXL mixer are as many.
- Chunks are independent of each other, so spans of whole chunks are programs of their own.
- Longer lines are cut into tiles that overlap by a halo, which is computed twice instead of exchanged: exact
  as long as a span has no more lines than the halo has cells. Where the state goes on, a launch follows on a
  launch, and the state between them is in float32 in global memory.

Channels that share logits are taken several to a program, so that their weights are made once.
Knows nothing of autograd; `prepare` checks the arguments. Tensors on the CPU run in Triton's interpreter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from gspn_core.ops.prepare import Scan
from gspn_core.ops.triton import backward as backward_kernels
from gspn_core.ops.triton import forward as forward_kernels

# Cells of a tile, at most, and of its halo.
_TILE = 1024
_HALO = 64
# Cells of a line that a thread holds: a block then stays in the registers it was read into from the load to
# the store (compiled for sm_90: no shared memory, one barrier a line). Their number has a limit all the same.
_ROW_CELLS, _COLUMN_CELLS, _MOST_THREADS = 4, 1, 512
_ROW_BLOCK, _COLUMN_BLOCK = 32, 16
# Lines of a program that does several chunks: enough for its first block's latency not to matter.
_SPAN = 64
# Programs that a device should have to do before channels are put together.
_PROGRAMS = 1024
_GRADIENT_CELLS = 512
# The kernel fetches ahead itself; of a pipeline made by the compiler it could not be said what it reads when.
_OPTIONS = {"num_stages": 1, "enable_fp_fusion": True}


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How one scan is cut into programs.

    Attributes:
        channels, tile, lines: the block of a program.
        halo: cells on both sides of a tile that other programs own.
        tiles: programs along a line.
        span: lines of a program.
        stride: lines of a launch.
        carried: whether launches hand the state on.
        programs: programs of a launch.
        warps: of a program.
    """

    channels: int
    tile: int
    lines: int
    halo: int
    tiles: int
    span: int
    stride: int
    carried: bool
    programs: int
    warps: int


def cut(scan: Scan, itemsize: int) -> Launch:
    """Decide how a scan of numbers of `itemsize` bytes is cut into programs."""
    # Of columns a thread reads 16 bytes along the row.
    block = 8 if scan.columns and itemsize == 2 else 4
    tile, halo, tiles = triton.next_power_of_2(scan.length), 0, 1
    if tile > _TILE:
        tile, halo = _TILE, _HALO
        tiles = triton.cdiv(scan.length, tile - 2 * halo)
    carried = tiles > 1 and scan.chunk > halo
    if carried:
        span = stride = halo
    else:
        most = halo if tiles > 1 else max(scan.chunk, _SPAN)
        span, stride = max(1, most // scan.chunk) * scan.chunk, scan.lines
    threads = min(_MOST_THREADS, max(32, tile // (_COLUMN_CELLS if scan.columns else _ROW_CELLS)))
    channels = 1
    rest = scan.maps * tiles * triton.cdiv(min(stride, scan.lines), span)
    while (
        2 * channels <= scan.group
        and 2 * channels * tile * block <= threads * (_COLUMN_BLOCK if scan.columns else _ROW_BLOCK)
        and rest * scan.group // (2 * channels) >= _PROGRAMS
    ):
        channels *= 2
    return Launch(
        channels=channels,
        tile=tile,
        lines=block,
        halo=halo,
        tiles=tiles,
        span=span,
        stride=stride,
        carried=carried,
        programs=rest * triton.cdiv(scan.group, channels),
        warps=threads // 32,
    )


def usable(device: torch.device) -> bool:
    """Return whether the kernels can run on tensors of a device."""
    return device.type == "cuda" or device.type == "cpu" and bool(triton.knobs.runtime.interpret)


def forward(x: Tensor, gate: Tensor, logits: Tensor, scan: Scan, dtype: torch.dtype) -> Tensor:
    """Scan x (B, C, H, W) into a tensor of dtype; arguments as `prepare` checked them."""
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    _scan(x.contiguous(), gate.contiguous(), logits.contiguous(), out, None, scan)
    return out


def merge(out: Tensor, share: Tensor, x: Tensor, gate: Tensor, logits: Tensor, scan: Scan) -> None:
    """Add share·h to out (B, C, H, W), h being the scan of x with what `merge_line_scan` makes of gate."""
    # Batches may be apart, as those of the parts of one tensor are.
    x, gate, logits, share = (
        t if t[:1].is_contiguous() else t.contiguous() for t in (x, gate, logits, share)
    )
    _scan(x, gate, logits, out, share, scan)


def _scan(x: Tensor, gate: Tensor, logits: Tensor, out: Tensor, share: Tensor | None, scan: Scan) -> None:
    batches = tuple(0 if t is None else t.stride(0) for t in (x, gate, logits, out, share))
    _launch(forward_kernels.scan, (x, gate, logits, out, share), (batches, scan.sets), scan, slots=2)


def backward(
    grad: Tensor, x: Tensor, gate: Tensor, logits: Tensor, state: Tensor, scan: Scan
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, gate and logits, given that of the state, which is in the carry's dtype."""
    x, gate, logits, grad = x.contiguous(), gate.contiguous(), logits.contiguous(), grad.contiguous()
    grads = torch.empty_like(x), torch.empty_like(gate), torch.empty_like(logits)
    if x.numel() == 0:
        return grads[0], grads[1], torch.zeros_like(logits)
    total = torch.empty_like(state)
    # Two slots, of two lines each.
    _launch(backward_kernels.accumulate, (grad, gate, logits, total), (), scan, slots=4)
    blocks = triton.cdiv(scan.height * scan.width, _GRADIENT_CELLS)
    with _device(x):
        backward_kernels.differentiate[(scan.maps * blocks,)](
            total, x, gate, logits, state, *grads, scan.group, scan.height, scan.width, scan.chunk,
            COLUMNS=scan.columns, BACKWARDS=scan.backwards, CONVEX=scan.convex, CELLS=_GRADIENT_CELLS,
            **_OPTIONS,
        )  # fmt: skip
    return grads


def _launch(kernel: Any, tensors: Sequence[Tensor | None], numbers: tuple, scan: Scan, *, slots: int) -> None:
    """Launch a kernel that carries a state, as often as lines are handed on from launch to launch.

    Args:
        kernel: `scan`, or `accumulate`, which takes the lines last to first.
        tensors: those that come first among its arguments, in their order.
        numbers: those of its arguments that the other kernel lacks.
        scan: what is scanned.
        slots: lines that a program leaves for itself.
    """
    like = tensors[0]
    if like.numel() == 0:
        return
    launch = cut(scan, like.element_size())
    room = torch.empty(
        launch.programs * slots * launch.channels * launch.tile, dtype=scan.carry, device=like.device
    )
    before = after = None
    if launch.carried:
        before, after = (
            torch.zeros(scan.maps * scan.group, scan.length, dtype=scan.carry, device=like.device)
            for _ in range(2)
        )
    starts = range(0, scan.lines, launch.stride)
    with _device(like):
        for start in starts if kernel is forward_kernels.scan else reversed(starts):
            kernel[(launch.programs,)](
                *tensors, before, after, room, *numbers,
                scan.group, scan.height, scan.width, scan.chunk,
                start, min(start + launch.stride, scan.lines), launch.span,
                COLUMNS=scan.columns, BACKWARDS=scan.backwards, CONVEX=scan.convex,
                EVEN=scan.lines % launch.lines == 0 and launch.span % launch.lines == 0,
                HALO=launch.halo, CHANNELS=launch.channels, TILE=launch.tile, LINES=launch.lines,
                num_warps=launch.warps, **_OPTIONS,
            )  # fmt: skip
            before, after = after, before


def _device(tensor: Tensor) -> contextlib.AbstractContextManager:
    """Return the context in which Triton launches on the tensor's own card."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
