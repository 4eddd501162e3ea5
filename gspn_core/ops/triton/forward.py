"""The forward kernel of the line scan for Triton: states, or a sum of shares of them."""

from __future__ import annotations

import triton
import triton.language as tl

from gspn_core.ops.triton.lines import (
    fetch,
    join_lines,
    place_of,
    program_of,
    shifted,
    sigmoid,
    split_lines,
    weights,
)


@triton.jit
def scan(
    x_ptr, gate_ptr, logits_ptr, out_ptr, share_ptr, before_ptr, after_ptr, slots_ptr,
    batches, sets, group, height, width, chunk, start, stop, span,
    COLUMNS: tl.constexpr, BACKWARDS: tl.constexpr, CONVEX: tl.constexpr, EVEN: tl.constexpr,
    HALO: tl.constexpr, CHANNELS: tl.constexpr, TILE: tl.constexpr, LINES: tl.constexpr,
):  # fmt: skip
    """Carry a state over the lines start to stop (in travel order) of every map; one program does one span.

        h = keep·(w_prev·h_prev + w_same·h_same + w_next·h_next) + gate·x,   keep = 1 - gate if CONVEX

    Args:
        x_ptr, gate_ptr, out_ptr: (B, sets·group, H·W), a sample's channels contiguous.
        logits_ptr: (B, sets·3, H·W).
        share_ptr: None for out = h, or like x for out += share·h; gate then is what the sigmoid makes a gate
            of when CONVEX, and one on starting lines.
        before_ptr, after_ptr: (B·sets·group, length), the state before line `start` and after line `stop`;
            None where it starts from zero and no launch follows.
        slots_ptr: (programs, 2, CHANNELS, TILE) in the dtype of the state.
        batches: numbers from a sample to the next of x, gate, logits, out and share.
        span: lines of a program.
        EVEN: whether spans are whole blocks of LINES lines.
        HALO: cells on both sides of a tile that are computed for its neighbours' sake and not written. A
            wrong value moves one cell a line, so a span has at most HALO lines where there are several tiles.
    """
    MERGE: tl.constexpr = share_ptr is not None
    CARRIED: tl.constexpr = before_ptr is not None
    DTYPE: tl.constexpr = slots_ptr.dtype.element_ty
    length, lines, across, along = width, height, 1, width
    if COLUMNS:
        length, lines, across, along = height, width, width, 1
    m, first_channel, number, tile = program_of(length, span, stop - start, group, CHANNELS, TILE, HALO)
    b, own_set = m // sets, m % sets
    plane = tl.cast(length, tl.int64) * lines
    # Channels are addressed from a scalar on: only then the compiler sees whole sectors.
    base = (own_set * group + first_channel) * plane
    x_ptr += b * batches[0] + base
    gate_ptr += b * batches[1] + base
    logits_ptr += b * batches[2] + own_set * 3 * plane
    out_ptr += b * batches[3] + base
    if MERGE:
        share_ptr += b * batches[4] + base

    c = tl.arange(0, CHANNELS)
    cell = tile * (TILE - 2 * HALO) - HALO + tl.arange(0, TILE)
    channel = c[:, None, None] * plane
    known_c = c < group - first_channel
    inside = (cell >= 0) & (cell < length)
    owned = inside & (tl.arange(0, TILE) >= HALO) & (tl.arange(0, TILE) < TILE - HALO)
    written = known_c[:, None, None] & owned[None, :, None]
    slots_ptr += tl.program_id(0).to(tl.int64) * (2 * CHANNELS * TILE)
    spot, to_left, to_right = shifted(CHANNELS, TILE, COLUMNS)
    position = tl.arange(0, TILE)[None, :]
    has_left = tl.broadcast_to(position > 0, (CHANNELS, TILE))
    has_right = tl.broadcast_to(position < TILE - 1, (CHANNELS, TILE))

    # Lines in memory order: lowest, and one beyond the highest.
    lowest = start + number * span
    beyond = tl.minimum(lowest + span, stop)
    if BACKWARDS:
        lowest, beyond = lines - beyond, lines - lowest
    first_block, end_block = lowest // LINES, tl.cdiv(beyond, LINES)

    state = tl.zeros((CHANNELS, TILE), DTYPE)
    edge = (m * group + first_channel + c)[:, None] * length + cell[None, :]
    if CARRIED:
        state = tl.load(before_ptr + edge, mask=known_c[:, None] & inside[None, :], other=0.0)

    k = tl.arange(0, LINES)
    known = known_c[:, None, None]
    block = end_block - 1 if BACKWARDS else first_block
    i = (block * LINES + k)[None, None, :]
    mask = inside[None, :, None]
    if not EVEN:
        mask = mask & (i >= lowest) & (i < beyond)
    place = place_of(cell, i, across, along, COLUMNS)
    coming = fetch(x_ptr, gate_ptr, logits_ptr, channel, place, plane, mask, known)

    for done in range(end_block - first_block):
        value, gate = coming[0].to(DTYPE), coming[1].to(DTYPE)
        prev, same, following = coming[2].to(DTYPE), coming[3].to(DTYPE), coming[4].to(DTYPE)
        now_i, now_mask, now_place = i, mask, place
        # The next block sets out before this one is computed; past the end nothing is read.
        block += -1 if BACKWARDS else 1
        i = (block * LINES + k)[None, None, :]
        more = inside & (tl.zeros((TILE,), tl.int32) + done + 1 < end_block - first_block)
        mask = more[None, :, None]
        if not EVEN:
            mask = mask & (i >= lowest) & (i < beyond)
        place = place_of(cell, i, across, along, COLUMNS)
        coming = fetch(x_ptr, gate_ptr, logits_ptr, channel, place, plane, mask, known)

        target = out_ptr + channel + now_place
        put = written & now_mask
        if MERGE:
            share = tl.load(share_ptr + channel + now_place, mask=put, other=0.0)
            so_far = tl.load(target, mask=put, other=0.0)

        here = cell[None, :, None]
        prev, same, following = weights(prev, same, following, here > 0, here < length - 1)
        step = lines - 1 - now_i if BACKWARDS else now_i
        starts = step % chunk == 0
        if MERGE and CONVEX:
            gate = tl.where(starts, 1.0, sigmoid(gate))
        keep = (1 - gate if CONVEX else tl.full(gate.shape, 1, DTYPE)) * tl.where(starts, 0.0, 1.0).to(DTYPE)
        value = gate * value
        prev, same, following = keep * prev, keep * same, keep * following
        if not EVEN:
            # Lines of the block that are not of the span hand the state on as it is.
            ours = (now_i >= lowest) & (now_i < beyond)
            prev, following = tl.where(ours, prev, 0.0), tl.where(ours, following, 0.0)
            same, value = tl.where(ours, same, 1.0), tl.where(ours, value, 0.0)
        ps = split_lines(prev, BACKWARDS)
        ss = split_lines(same, BACKWARDS)
        ns = split_lines(following, BACKWARDS)
        vs = split_lines(value, BACKWARDS)
        states = ()
        for n in tl.static_range(LINES):
            slot = slots_ptr + n % 2 * (CHANNELS * TILE)
            tl.store(slot + spot, state)
            tl.debug_barrier()
            left = tl.load(slot + to_left, mask=has_left, other=0.0)
            right = tl.load(slot + to_right, mask=has_right, other=0.0)
            state = ps[n] * left + ss[n] * state + ns[n] * right + vs[n]
            states = states + (state,)
        result = join_lines(states, BACKWARDS, LINES)
        if MERGE:
            result = so_far.to(DTYPE) + share.to(DTYPE) * result
        tl.store(target, result, mask=put)

    if CARRIED:
        tl.store(after_ptr + edge, state, mask=known_c[:, None] & owned[None, :])
