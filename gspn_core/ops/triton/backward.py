"""The backward kernels of the line scan for Triton.

`accumulate` carries the gradient back over the lines, a scan whose state spreads instead of gathering;
`differentiate` makes of it those of x, gate and logits, for which cells need no order.
"""

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
def accumulate(
    grad_ptr, gate_ptr, logits_ptr, total_ptr, before_ptr, after_ptr, slots_ptr,
    group, height, width, chunk, start, stop, span,
    COLUMNS: tl.constexpr, BACKWARDS: tl.constexpr, CONVEX: tl.constexpr, EVEN: tl.constexpr,
    HALO: tl.constexpr, CHANNELS: tl.constexpr, TILE: tl.constexpr, LINES: tl.constexpr,
):  # fmt: skip
    """Write the gradient that reaches each state in all; lines are taken last to first.

        T[i, j] = grad[i, j] + Σ over the cells of line i + 1 that take from j of their keep·weight·T

    Args:
        grad_ptr, gate_ptr, total_ptr: (maps, group, H·W), contiguous.
        logits_ptr: (maps, 3, H·W).
        before_ptr, after_ptr: (maps·group, length), what comes back into line `stop` - 1 from the lines after
            it, and into the line before `start`; None as for the forward kernel.
        slots_ptr: (programs, 2, 2, CHANNELS, TILE) in the dtype of the state.

    The others are those of the forward kernel.
    """
    CARRIED: tl.constexpr = before_ptr is not None
    DTYPE: tl.constexpr = slots_ptr.dtype.element_ty
    # Against the direction of travel.
    DESCENDING: tl.constexpr = not BACKWARDS
    length, lines, across, along = width, height, 1, width
    if COLUMNS:
        length, lines, across, along = height, width, width, 1
    m, first_channel, number, tile = program_of(length, span, stop - start, group, CHANNELS, TILE, HALO)
    plane = tl.cast(length, tl.int64) * lines
    base = (m * group + first_channel) * plane
    grad_ptr += base
    gate_ptr += base
    total_ptr += base
    logits_ptr += m * 3 * plane

    c = tl.arange(0, CHANNELS)
    cell = tile * (TILE - 2 * HALO) - HALO + tl.arange(0, TILE)
    channel = c[:, None, None] * plane
    known_c = c < group - first_channel
    inside = (cell >= 0) & (cell < length)
    owned = inside & (tl.arange(0, TILE) >= HALO) & (tl.arange(0, TILE) < TILE - HALO)
    written = known_c[:, None, None] & owned[None, :, None]
    SIZE: tl.constexpr = CHANNELS * TILE
    slots_ptr += tl.program_id(0).to(tl.int64) * (4 * SIZE)
    spot, to_left, to_right = shifted(CHANNELS, TILE, COLUMNS)
    position = tl.arange(0, TILE)[None, :]
    has_left = tl.broadcast_to(position > 0, (CHANNELS, TILE))
    has_right = tl.broadcast_to(position < TILE - 1, (CHANNELS, TILE))

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
    block = end_block - 1 if DESCENDING else first_block
    i = (block * LINES + k)[None, None, :]
    mask = inside[None, :, None]
    if not EVEN:
        mask = mask & (i >= lowest) & (i < beyond)
    place = place_of(cell, i, across, along, COLUMNS)
    coming = fetch(grad_ptr, gate_ptr, logits_ptr, channel, place, plane, mask, known)

    for done in range(end_block - first_block):
        value, gate = coming[0].to(DTYPE), coming[1].to(DTYPE)
        prev, same, following = coming[2].to(DTYPE), coming[3].to(DTYPE), coming[4].to(DTYPE)
        now_i, now_mask, now_place = i, mask, place
        # The next block sets out before this one is computed; past the end nothing is read.
        block += -1 if DESCENDING else 1
        i = (block * LINES + k)[None, None, :]
        more = inside & (tl.zeros((TILE,), tl.int32) + done + 1 < end_block - first_block)
        mask = more[None, :, None]
        if not EVEN:
            mask = mask & (i >= lowest) & (i < beyond)
        place = place_of(cell, i, across, along, COLUMNS)
        coming = fetch(grad_ptr, gate_ptr, logits_ptr, channel, place, plane, mask, known)

        here = cell[None, :, None]
        prev, same, following = weights(prev, same, following, here > 0, here < length - 1)
        step = lines - 1 - now_i if BACKWARDS else now_i
        flows = tl.where(step % chunk == 0, 0.0, 1.0).to(DTYPE)
        keep = (1 - gate if CONVEX else tl.full(gate.shape, 1, DTYPE)) * flows
        prev, same, following = keep * prev, keep * same, keep * following
        if not EVEN:
            # Lines of the block that are not of the span hand the state on as it is.
            ours = (now_i >= lowest) & (now_i < beyond)
            prev, following = tl.where(ours, prev, 0.0), tl.where(ours, following, 0.0)
            same, value = tl.where(ours, same, 1.0), tl.where(ours, value, 0.0)
        ps = split_lines(prev, DESCENDING)
        ss = split_lines(same, DESCENDING)
        ns = split_lines(following, DESCENDING)
        vs = split_lines(value, DESCENDING)
        totals = ()
        for n in tl.static_range(LINES):
            slot = slots_ptr + n % 2 * (2 * SIZE)
            # What a cell took from its neighbours in the line before goes back over their weights.
            total = vs[n] + state
            tl.store(slot + spot, ns[n] * total)
            tl.store(slot + SIZE + spot, ps[n] * total)
            tl.debug_barrier()
            left = tl.load(slot + to_left, mask=has_left, other=0.0)
            right = tl.load(slot + SIZE + to_right, mask=has_right, other=0.0)
            state = left + ss[n] * total + right
            totals = totals + (total,)
        result = join_lines(totals, DESCENDING, LINES)
        tl.store(total_ptr + channel + now_place, result, mask=written & now_mask)

    if CARRIED:
        tl.store(after_ptr + edge, state, mask=known_c[:, None] & owned[None, :])


@triton.jit
def differentiate(
    total_ptr, x_ptr, gate_ptr, logits_ptr, state_ptr, grad_x_ptr, grad_gate_ptr, grad_logits_ptr,
    group, height, width, chunk,
    COLUMNS: tl.constexpr, BACKWARDS: tl.constexpr, CONVEX: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    """Turn the gradient T that reaches every state in all into those of x, gate and logits.

        F = T, or (1 - gate)·T if CONVEX;   mean = Σ w_n·h_n over the neighbours n in the line before
        grad x = T·gate,   grad gate = T·x, or T·(x - mean)
        grad logit_n = Σ F·(h_n - mean)·w_n·(1 - sigmoid(logit_n)), over all channels that share it

    Args:
        total_ptr, x_ptr, gate_ptr, state_ptr, grad_x_ptr, grad_gate_ptr: (maps, group, H·W), contiguous.
        logits_ptr, grad_logits_ptr: (maps, 3, H·W).

    One program does CELLS cells of all the channels that share logits, and so their sum.
    """
    DTYPE: tl.constexpr = total_ptr.dtype.element_ty
    blocks = tl.cdiv(height * width, CELLS)
    program = tl.program_id(0)
    m = (program // blocks).to(tl.int64)
    n = program % blocks * CELLS + tl.arange(0, CELLS)
    plane = tl.cast(height, tl.int64) * width
    row, column = n // width, n % width
    line, cell, lines, length = row, column, height, width
    along, across = width, 1
    if COLUMNS:
        line, cell, lines, length = column, row, width, height
        along, across = 1, width
    step = lines - 1 - line if BACKWARDS else line
    back = along if BACKWARDS else -along
    inside = n < height * width
    flows = inside & (step % chunk != 0)
    has_prev, has_next = cell > 0, cell < length - 1

    logits_ptr += m * 3 * plane
    l0 = tl.load(logits_ptr + n, mask=inside, other=0.0).to(DTYPE)
    l1 = tl.load(logits_ptr + plane + n, mask=inside, other=0.0).to(DTYPE)
    l2 = tl.load(logits_ptr + 2 * plane + n, mask=inside, other=0.0).to(DTYPE)
    w0, w1, w2 = weights(l0, l1, l2, has_prev, has_next)
    sum0 = tl.zeros((CELLS,), DTYPE)
    sum1 = tl.zeros((CELLS,), DTYPE)
    sum2 = tl.zeros((CELLS,), DTYPE)
    for channel in range(group):
        place = (m * group + channel) * plane + n
        total = tl.load(total_ptr + place, mask=inside, other=0.0)
        x = tl.load(x_ptr + place, mask=inside, other=0.0).to(DTYPE)
        gate = tl.load(gate_ptr + place, mask=inside, other=0.0).to(DTYPE)
        h0 = tl.load(state_ptr + place + back - across, mask=flows & has_prev, other=0.0)
        h1 = tl.load(state_ptr + place + back, mask=flows, other=0.0)
        h2 = tl.load(state_ptr + place + back + across, mask=flows & has_next, other=0.0)
        mean = w0 * h0 + w1 * h1 + w2 * h2
        tl.store(grad_x_ptr + place, total * gate, mask=inside)
        flow = total
        if CONVEX:
            flow = (1 - gate) * total
            x -= mean
        tl.store(grad_gate_ptr + place, total * x, mask=inside)
        sum0 += flow * (h0 - mean)
        sum1 += flow * (h1 - mean)
        sum2 += flow * (h2 - mean)
    # At a starting line all h and the mean are zero, and so are the sums.
    grad_logits_ptr += m * 3 * plane
    tl.store(grad_logits_ptr + n, sum0 * w0 * sigmoid(-l0), mask=inside)
    tl.store(grad_logits_ptr + plane + n, sum1 * w1 * sigmoid(-l1), mask=inside)
    tl.store(grad_logits_ptr + 2 * plane + n, sum2 * w2 * sigmoid(-l2), mask=inside)
