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


@triton.jit
def program_of(length, span, lines, group, CHANNELS: tl.constexpr, TILE: tl.constexpr, HALO: tl.constexpr):
    """Return this program's map of logits, first channel, span and tile."""
    tiles = tl.cdiv(length, TILE - 2 * HALO)
    spans = tl.cdiv(lines, span)
    blocks = tl.cdiv(group, CHANNELS)
    rest = tl.program_id(0)
    tile = rest % tiles
    rest = rest // tiles
    number = rest % spans
    rest = rest // spans
    return (rest // blocks).to(tl.int64), rest % blocks * CHANNELS, number, tile


@triton.jit
def shifted(CHANNELS: tl.constexpr, TILE: tl.constexpr, COLUMNS: tl.constexpr):
    """Return where a line (CHANNELS, TILE) is left in a slot, and where its cells' two neighbours are then.

    For columns the exclusive or keeps from the compiler that cells adjoin: it would lay two of them into one
    thread, and carry every line from layout to layout through shared memory.
    """
    SWAP: tl.constexpr = 1 if COLUMNS else 0
    position = tl.arange(0, TILE)[None, :]
    own = tl.arange(0, CHANNELS)[:, None] * TILE
    return own + (position ^ SWAP), own + ((position - 1) ^ SWAP), own + ((position + 1) ^ SWAP)


@triton.jit
def place_of(cell, i, across, along, COLUMNS: tl.constexpr):
    """Return where the cells of the lines i are in a map, (1, TILE, LINES)."""
    place = cell[None, :, None] * across + i * along
    # Four cells a thread whatever their dtype, as a slot's float32 has: lines then keep their layout.
    return place if COLUMNS else tl.max_contiguous(place, (1, 4, 1))


@triton.jit
def fetch(value_ptr, gate_ptr, logits_ptr, channel, place, plane, mask, known):
    """Ask for a block of the value, the gate (CHANNELS, TILE, LINES) and three logits (1, TILE, LINES)."""
    full = mask & known
    value = tl.load(value_ptr + channel + place, mask=full, other=0.0)
    gate = tl.load(gate_ptr + channel + place, mask=full, other=0.0)
    prev = tl.load(logits_ptr + place, mask=mask, other=0.0)
    same = tl.load(logits_ptr + plane + place, mask=mask, other=0.0)
    following = tl.load(logits_ptr + 2 * plane + place, mask=mask, other=0.0)
    return value, gate, prev, same, following


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
