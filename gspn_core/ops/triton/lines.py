"""What the Triton kernels share: neighbour weights, where lines are, and blocks of lines in registers.

A program that carries a state owns CHANNELS channels that share neighbour weights, TILE cells across the
lines, and a span of lines. It reads LINES lines at once as a block (CHANNELS, TILE, LINES) whose addresses
run along the rows of the map whatever the direction, so that columns are read in whole sectors and no
transposed copy exists; the block is taken apart into lines in registers (`split_lines`), and the next block
is on its way meanwhile.

A line's neighbours are in other threads. `tl.gather` would hand them over, but the compiler lays its axis
into one warp, so that all warps compute the whole line (seen in 3.9). So a program leaves every line in a
slot of its own in global memory, passes a barrier, and reads it shifted by one. Within one program that is
sound: a barrier of a thread block orders its weak writes before its weak reads in the memory model of PTX. A
slot is written again two lines later: all of the program have then passed the barrier of the line between,
and so have read what they wanted here. The two slots of 4 KiB stay in the L1 or L2 cache and reach no DRAM to
speak of.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl


@triton.jit
def sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def weights(prev, same, following, has_prev, has_next):
    """Turn three logits into weights: sigmoids divided by their sum over the neighbours that exist.

    sigmoid(l) is proportional to 1 / A with A = e^s + e^(s - l) for any s. With the largest logit as s, or
    zero if that is less, one A is near one; e^MOST stands for any larger e^(s - l), whose share of the sum
    the carry's precision cannot show, so that products of two A are finite.
    """
    MOST: tl.constexpr = 300.0 if same.dtype == tl.float64 else 40.0
    prev = tl.where(has_prev, prev, float("-inf"))
    following = tl.where(has_next, following, float("-inf"))
    s = tl.minimum(tl.maximum(tl.maximum(prev, same), following), 0.0)
    base = tl.exp(s)
    a = base + tl.exp(tl.minimum(s - prev, MOST))
    b = base + tl.exp(tl.minimum(s - same, MOST))
    c = base + tl.exp(tl.minimum(s - following, MOST))
    r = 1 / (b * c + a * c + a * b)
    return tl.where(has_prev, b * c * r, 0.0), a * c * r, tl.where(has_next, a * b * r, 0.0)


class Work(NamedTuple):
    """What one program does: its channels, cells and lines, and where they are in memory.

    Attributes:
        map: the map of logits, counted through the batch.
        first_channel: of those that share the map.
        channel: (CHANNELS, 1, 1), offsets of the program's channels from the first.
        known: (CHANNELS,), whether there is such a channel.
        cell: (TILE,), places in a line; outside of the map where not `inside`.
        inside, owned: (TILE,), whether a cell is of the map, and whether this program writes it.
        length, lines: cells of a line, and lines of a map.
        across, along, plane: offsets of the next cell of a line, of the next line, and of the next channel.
        lowest, beyond: the program's lines in memory order, the latter one after the last.
        first_block, end_block: the same in blocks of LINES lines.
    """

    map: tl.tensor
    first_channel: tl.tensor
    channel: tl.tensor
    known: tl.tensor
    cell: tl.tensor
    inside: tl.tensor
    owned: tl.tensor
    length: tl.tensor
    lines: tl.tensor
    across: tl.tensor
    along: tl.tensor
    plane: tl.tensor
    lowest: tl.tensor
    beyond: tl.tensor
    first_block: tl.tensor
    end_block: tl.tensor


class Block(NamedTuple):
    """Lines on their way: their numbers i (1, 1, LINES), mask and place (1, TILE, LINES), and what is read.

    value and gate are (CHANNELS, TILE, LINES), the logits prev, same and following (1, TILE, LINES).
    """

    i: tl.tensor
    mask: tl.tensor
    place: tl.tensor
    value: tl.tensor
    gate: tl.tensor
    prev: tl.tensor
    same: tl.tensor
    following: tl.tensor


@triton.jit
def work_of(
    group, height, width, start, stop, span,
    COLUMNS: tl.constexpr, BACKWARDS: tl.constexpr, HALO: tl.constexpr,
    CHANNELS: tl.constexpr, TILE: tl.constexpr, LINES: tl.constexpr,
):  # fmt: skip
    """Return this program's Work; arguments as the kernels have them."""
    length, lines, across, along = width, height, 1, width
    if COLUMNS:
        length, lines, across, along = height, width, width, 1
    plane = tl.cast(length, tl.int64) * lines
    tiles, spans, blocks = (
        tl.cdiv(length, TILE - 2 * HALO),
        tl.cdiv(stop - start, span),
        tl.cdiv(group, CHANNELS),
    )
    rest = tl.program_id(0)
    tile = rest % tiles
    rest = rest // tiles
    number = rest % spans
    rest = rest // spans
    first_channel = rest % blocks * CHANNELS

    c, position = tl.arange(0, CHANNELS), tl.arange(0, TILE)
    cell = tile * (TILE - 2 * HALO) - HALO + position
    inside = (cell >= 0) & (cell < length)
    owned = inside & (position >= HALO) & (position < TILE - HALO)

    lowest = start + number * span
    beyond = tl.minimum(lowest + span, stop)
    if BACKWARDS:
        lowest, beyond = lines - beyond, lines - lowest
    return Work(
        (rest // blocks).to(tl.int64), first_channel,
        c[:, None, None] * plane, c < group - first_channel, cell, inside, owned,
        length, lines, across, along, plane,
        lowest, beyond, lowest // LINES, tl.cdiv(beyond, LINES),
    )  # fmt: skip


@triton.jit
def fetch(
    value_ptr, gate_ptr, logits_ptr, work, block, inside,
    COLUMNS: tl.constexpr, EVEN: tl.constexpr, LINES: tl.constexpr,
):  # fmt: skip
    """Ask for a block of lines, of the cells that are inside and of the program's span."""
    i = (block * LINES + tl.arange(0, LINES))[None, None, :]
    mask = inside[None, :, None]
    if not EVEN:
        mask = mask & (i >= work.lowest) & (i < work.beyond)
    place = work.cell[None, :, None] * work.across + i * work.along
    if not COLUMNS:
        # Four cells a thread whatever their dtype, as a slot's float32 has: lines then keep their layout.
        place = tl.max_contiguous(place, (1, 4, 1))
    full = mask & work.known[:, None, None]
    value = tl.load(value_ptr + work.channel + place, mask=full, other=0.0)
    gate = tl.load(gate_ptr + work.channel + place, mask=full, other=0.0)
    prev = tl.load(logits_ptr + place, mask=mask, other=0.0)
    same = tl.load(logits_ptr + work.plane + place, mask=mask, other=0.0)
    following = tl.load(logits_ptr + 2 * work.plane + place, mask=mask, other=0.0)
    return Block(i, mask, place, value, gate, prev, same, following)


@triton.jit
def fetch_next(
    value_ptr, gate_ptr, logits_ptr, work, block, done,
    COLUMNS: tl.constexpr, EVEN: tl.constexpr, LINES: tl.constexpr,
):  # fmt: skip
    """Ask for the block after `done` others; past the program's last nothing is read."""
    more = tl.zeros(work.cell.shape, tl.int32) + done < work.end_block - work.first_block
    return fetch(value_ptr, gate_ptr, logits_ptr, work, block, work.inside & more, COLUMNS, EVEN, LINES)


@triton.jit
def load_state(before_ptr, work, group, CHANNELS: tl.constexpr, TILE: tl.constexpr, DTYPE: tl.constexpr):
    """Return the state (CHANNELS, TILE) that the launch before left, zeros where there was none."""
    state = tl.zeros((CHANNELS, TILE), DTYPE)
    if before_ptr is not None:
        state = tl.load(
            before_ptr + edge_of(work, group), mask=work.known[:, None] & work.inside[None, :], other=0.0
        )
    return state


@triton.jit
def store_state(after_ptr, state, work, group):
    """Leave the state of the cells that this program owns for the next launch."""
    tl.store(after_ptr + edge_of(work, group), state, mask=work.known[:, None] & work.owned[None, :])


@triton.jit
def edge_of(work, group):
    """Return where the program's cells are in a line of every channel, (CHANNELS, TILE)."""
    c = tl.arange(0, work.known.shape[0])
    return (work.map * group + work.first_channel + c)[:, None] * work.length + work.cell[None, :]


@triton.jit
def starts_of(block, work, chunk, BACKWARDS: tl.constexpr):
    """Return which lines of a block are those at which the state restarts, (1, 1, LINES)."""
    return (work.lines - 1 - block.i if BACKWARDS else block.i) % chunk == 0


@triton.jit
def flows_of(block, work, gate, starts, value, CONVEX: tl.constexpr, EVEN: tl.constexpr):
    """Return what a state takes of its three neighbours and of itself, keep·weights and value, as blocks.

    keep is 0 where the state restarts, else 1, or 1 - gate if CONVEX. Lines of the block that are not of the
    program's span hand the state on as it is.
    """
    DTYPE: tl.constexpr = value.dtype
    here = work.cell[None, :, None]
    prev, same, following = block.prev.to(DTYPE), block.same.to(DTYPE), block.following.to(DTYPE)
    prev, same, following = weights(prev, same, following, here > 0, here < work.length - 1)
    keep = (1 - gate if CONVEX else tl.full(gate.shape, 1, DTYPE)) * tl.where(starts, 0.0, 1.0).to(DTYPE)
    prev, same, following = keep * prev, keep * same, keep * following
    if not EVEN:
        ours = (block.i >= work.lowest) & (block.i < work.beyond)
        prev, following = tl.where(ours, prev, 0.0), tl.where(ours, following, 0.0)
        same, value = tl.where(ours, same, 1.0), tl.where(ours, value, 0.0)
    return prev, same, following, value


@triton.jit
def shifted(CHANNELS: tl.constexpr, TILE: tl.constexpr, COLUMNS: tl.constexpr):
    """Return where a line (CHANNELS, TILE) is left in a slot, and of its cells' two neighbours the places
    there and whether they exist.

    For columns the exclusive or keeps from the compiler that cells adjoin: it would lay two of them into one
    thread, and carry every line from layout to layout through shared memory.
    """
    SWAP: tl.constexpr = 1 if COLUMNS else 0
    position = tl.arange(0, TILE)[None, :]
    own = tl.arange(0, CHANNELS)[:, None] * TILE
    has_left = tl.broadcast_to(position > 0, (CHANNELS, TILE))
    has_right = tl.broadcast_to(position < TILE - 1, (CHANNELS, TILE))
    left, right = own + ((position - 1) ^ SWAP), own + ((position + 1) ^ SWAP)
    return own + (position ^ SWAP), left, right, has_left, has_right


@triton.jit
def split_lines(block, DESCENDING: tl.constexpr):
    """Take a block (CHANNELS, TILE, LINES) apart into lines (CHANNELS, TILE) in the order of travel."""
    CHANNELS: tl.constexpr = block.shape[0]
    TILE: tl.constexpr = block.shape[1]
    LINES: tl.constexpr = block.shape[2]
    if LINES == 4:
        even, odd = tl.split(tl.reshape(block, (CHANNELS, TILE, 2, 2)))
        l0, l2 = tl.split(even)
        l1, l3 = tl.split(odd)
        return (l3, l2, l1, l0) if DESCENDING else (l0, l1, l2, l3)
    else:  # noqa: RET505  a constant decides: the compiler sees one branch
        even, odd = tl.split(tl.reshape(block, (CHANNELS, TILE, 2, 2, 2)))
        e0, e1 = tl.split(even)
        o0, o1 = tl.split(odd)
        l0, l4 = tl.split(e0)
        l2, l6 = tl.split(e1)
        l1, l5 = tl.split(o0)
        l3, l7 = tl.split(o1)
        return (l7, l6, l5, l4, l3, l2, l1, l0) if DESCENDING else (l0, l1, l2, l3, l4, l5, l6, l7)


@triton.jit
def join_lines(lines, DESCENDING: tl.constexpr, LINES: tl.constexpr):
    """Put lines together again: the inverse of `split_lines`."""
    if LINES == 4:
        if DESCENDING:
            l3, l2, l1, l0 = lines
        else:
            l0, l1, l2, l3 = lines
        joined = tl.join(tl.join(l0, l2), tl.join(l1, l3))
    else:
        if DESCENDING:
            l7, l6, l5, l4, l3, l2, l1, l0 = lines
        else:
            l0, l1, l2, l3, l4, l5, l6, l7 = lines
        even = tl.join(tl.join(l0, l4), tl.join(l2, l6))
        odd = tl.join(tl.join(l1, l5), tl.join(l3, l7))
        joined = tl.join(even, odd)
    return tl.reshape(joined, (lines[0].shape[0], lines[0].shape[1], LINES))
