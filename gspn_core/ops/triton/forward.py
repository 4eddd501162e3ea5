"""The forward kernel of the line scan for Triton: states, or a sum of shares of them."""

from __future__ import annotations

import triton
import triton.language as tl

from gspn_core.ops.triton.lines import (
    fetch,
    fetch_next,
    flows_of,
    join_lines,
    load_state,
    shifted,
    sigmoid,
    split_lines,
    starts_of,
    store_state,
    work_of,
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
    work = work_of(group, height, width, start, stop, span, COLUMNS, BACKWARDS, HALO, CHANNELS, TILE, LINES)
    b, own_set = work.map // sets, work.map % sets
    # Channels are addressed from a scalar on: only then the compiler sees whole sectors.
    base = (own_set * group + work.first_channel) * work.plane
    x_ptr += b * batches[0] + base
    gate_ptr += b * batches[1] + base
    logits_ptr += b * batches[2] + own_set * 3 * work.plane
    out_ptr += b * batches[3] + base
    if MERGE:
        share_ptr += b * batches[4] + base
    slots_ptr += tl.program_id(0).to(tl.int64) * (2 * CHANNELS * TILE)
    spot, to_left, to_right, has_left, has_right = shifted(CHANNELS, TILE, COLUMNS)

    state = load_state(before_ptr, work, group, CHANNELS, TILE, DTYPE)
    block = work.end_block - 1 if BACKWARDS else work.first_block
    coming = fetch(x_ptr, gate_ptr, logits_ptr, work, block, work.inside, COLUMNS, EVEN, LINES)
    for done in range(work.end_block - work.first_block):
        # The next block sets out before this one is computed.
        now = coming
        block += -1 if BACKWARDS else 1
        coming = fetch_next(x_ptr, gate_ptr, logits_ptr, work, block, done + 1, COLUMNS, EVEN, LINES)
        target = out_ptr + work.channel + now.place
        put = work.known[:, None, None] & work.owned[None, :, None] & now.mask
        if MERGE:
            share = tl.load(share_ptr + work.channel + now.place, mask=put, other=0.0)
            so_far = tl.load(target, mask=put, other=0.0)

        gate = now.gate.to(DTYPE)
        starts = starts_of(now, work, chunk, BACKWARDS)
        if MERGE and CONVEX:
            gate = tl.where(starts, 1.0, sigmoid(gate))
        prev, same, following, value = flows_of(
            now, work, gate, starts, gate * now.value.to(DTYPE), CONVEX, EVEN
        )
        ps, ss = split_lines(prev, BACKWARDS), split_lines(same, BACKWARDS)
        ns, vs = split_lines(following, BACKWARDS), split_lines(value, BACKWARDS)
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
        store_state(after_ptr, state, work, group)
