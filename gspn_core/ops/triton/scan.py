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
Knows nothing of autograd; `line_scan` checks the arguments. Tensors on the CPU run in Triton's interpreter.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from gspn_core.ops.triton import kernels

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
    """How one scan is cut: the constants of the kernel `carry` and its numbers of programs.

    Attributes:
        channels, tile, lines: the block of a program; halo: cells on both sides of a tile that others own.
        span: lines of a program; stride: lines of a launch; carried: whether launches hand the state on.
    """

    channels: int
    tile: int
    lines: int
    halo: int
    tiles: int
    span: int
    stride: int
    carried: bool
    warps: int


def cut(
    *, length: int, lines: int, columns: bool, chunk: int, maps: int, group: int, itemsize: int
) -> Launch:
    """Decide how `maps` maps of logits, shared by `group` channels each, are cut into programs.

    Args:
        length: cells of a line.
        lines: number of lines.
        columns: whether lines are columns, of which a thread reads 16 bytes along the row.
        chunk: lines between restarts, at most `lines`.
        maps: logits maps of the whole batch.
        group: channels that share one.
        itemsize: bytes of a stored number.
    """
    block = 8 if columns and itemsize == 2 else 4
    tile, halo, tiles = triton.next_power_of_2(length), 0, 1
    if tile > _TILE:
        tile, halo = _TILE, _HALO
        tiles = triton.cdiv(length, tile - 2 * halo)
    carried = tiles > 1 and chunk > halo
    if carried:
        span = stride = halo
    else:
        most = halo if tiles > 1 else max(chunk, _SPAN)
        span, stride = max(1, most // chunk) * chunk, lines
    threads = min(_MOST_THREADS, max(32, tile // (_COLUMN_CELLS if columns else _ROW_CELLS)))
    channels = 1
    programs = maps * group * tiles * triton.cdiv(stride, span)
    while (
        2 * channels <= group
        and 2 * channels * tile * block <= threads * (_COLUMN_BLOCK if columns else _ROW_BLOCK)
        and programs // (2 * channels) >= _PROGRAMS
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
        warps=threads // 32,
    )


def usable(device: torch.device) -> bool:
    """Return whether the kernels can run on tensors of a device."""
    return device.type == "cuda" or device.type == "cpu" and bool(triton.knobs.runtime.interpret)


def forward(
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    direction: str,
    chunk_size: int | None,
    gating: str,
    dtype: torch.dtype,
) -> Tensor:
    """Scan x (B, C, H, W) into a tensor of dtype; arguments as `line_scan` checked them."""
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    inputs = (x.contiguous(), gate.contiguous(), logits.contiguous())
    _carry(*inputs, out, None, direction, chunk_size, gating, transposed=False)
    return out


def merge(
    out: Tensor,
    share: Tensor,
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    direction: str,
    chunk_size: int | None,
    gating: str,
) -> None:
    """Add share·h to out (B, C, H, W), h being the scan of x with what `merge_line_scan` makes of gate."""
    tensors = [
        tensor if _planes_are_dense(tensor) else tensor.contiguous() for tensor in (x, gate, logits, share)
    ]
    _carry(*tensors[:3], out, tensors[3], direction, chunk_size, gating, transposed=False)


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
    """Return the gradients of x, gate and logits, given that of the state, which is in the carry's dtype."""
    x, gate, logits, grad = x.contiguous(), gate.contiguous(), logits.contiguous(), grad.contiguous()
    B, C, H, W = x.shape
    sets = logits.shape[1]
    # The gradient that reaches a state in all is itself a scan, back over the lines.
    total = torch.empty_like(state)
    _carry(grad, gate, logits, total, None, direction, chunk_size, gating, transposed=True)
    grads = torch.empty_like(x), torch.empty_like(gate), torch.empty_like(logits)
    blocks = triton.cdiv(H * W, _GRADIENT_CELLS)
    if B * sets == 0 or C == 0:
        return grads[0], grads[1], torch.zeros_like(logits)
    with _device(x):
        kernels.differentiate[(B * sets * blocks,)](
            total, x, gate, logits, state, *grads,
            C // sets, H, W, chunk_size or max(H, W), blocks,
            COLUMNS=direction in ("right", "left"), BACKWARDS=direction in ("left", "up"),
            CONVEX=gating == "convex", CELLS=_GRADIENT_CELLS, DTYPE=_carry_dtype(x), **_OPTIONS,
        )  # fmt: skip
    return grads


def _carry(
    value: Tensor,
    gate: Tensor,
    logits: Tensor,
    out: Tensor,
    share: Tensor | None,
    direction: str,
    chunk_size: int | None,
    gating: str,
    *,
    transposed: bool,
) -> None:
    """Launch the kernel that carries a state, as often as lines are handed on from launch to launch."""
    B, C, H, W = value.shape
    sets = logits.shape[1]
    if B == 0 or C == 0:
        return
    group = C // sets
    columns = direction in ("right", "left")
    length, lines = (H, W) if columns else (W, H)
    chunk = min(chunk_size or lines, lines)
    launch = cut(
        length=length,
        lines=lines,
        columns=columns,
        chunk=chunk,
        maps=B * sets,
        group=group,
        itemsize=value.element_size(),
    )
    dtype = torch.float64 if value.dtype == torch.float64 else torch.float32
    spans = triton.cdiv(min(launch.stride, lines), launch.span)
    programs = B * sets * triton.cdiv(group, launch.channels) * spans * launch.tiles
    # Two slots of a line for each program, and of two lines backward.
    slots = programs * (4 if transposed else 2) * launch.channels * launch.tile
    slots = torch.empty(slots, dtype=dtype, device=value.device)
    carried = carry = slots
    if launch.carried:
        carried, carry = (torch.zeros(B * C, length, dtype=dtype, device=value.device) for _ in range(2))
    starts = range(0, lines, launch.stride)
    with _device(value):
        for start in reversed(starts) if transposed else starts:
            kernels.carry[(programs,)](
                value, gate, logits, out, out if share is None else share, carried, carry, slots,
                value.stride(0), gate.stride(0), logits.stride(0), out.stride(0),
                0 if share is None else share.stride(0),
                sets, group, H, W, chunk, start, min(start + launch.stride, lines), launch.span,
                launch.tiles, spans,
                COLUMNS=columns, BACKWARDS=direction in ("left", "up"), TRANSPOSED=transposed,
                CONVEX=gating == "convex", MERGE=share is not None, CARRIED=launch.carried,
                EVEN=lines % launch.lines == 0 and launch.span % launch.lines == 0,
                HALO=launch.halo, CHANNELS=launch.channels, TILE=launch.tile, LINES=launch.lines,
                DTYPE=_carry_dtype(value), num_warps=launch.warps, **_OPTIONS,
            )  # fmt: skip
            carried, carry = carry, carried


def _planes_are_dense(tensor: Tensor) -> bool:
    """Return whether all but the batch dimension lie one after the other."""
    return tensor[:1].is_contiguous()


def _carry_dtype(x: Tensor) -> tl.dtype:
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def _device(tensor: Tensor) -> contextlib.AbstractContextManager:
    """Return the context in which Triton launches on the tensor's own card."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
