"""The backward kernels of the line scan for Triton.

`accumulate` carries the gradient back over the lines, a scan whose state spreads instead of gathering;
`differentiate` makes of it those of x, gate and logits, for which cells need no order.
"""

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
    weights,
    work_of,
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
    SIZE: tl.constexpr = CHANNELS * TILE
    work = work_of(group, height, width, start, stop, span, COLUMNS, BACKWARDS, HALO, CHANNELS, TILE, LINES)
    base = (work.map * group + work.first_channel) * work.plane
    grad_ptr += base
    gate_ptr += base
    total_ptr += base
    logits_ptr += work.map * 3 * work.plane
    slots_ptr += tl.program_id(0).to(tl.int64) * (4 * SIZE)
    spot, to_left, to_right, has_left, has_right = shifted(CHANNELS, TILE, COLUMNS)

    state = load_state(before_ptr, work, group, CHANNELS, TILE, DTYPE)
    block = work.end_block - 1 if DESCENDING else work.first_block
    coming = fetch(grad_ptr, gate_ptr, logits_ptr, work, block, work.inside, COLUMNS, EVEN, LINES)
    for done in range(work.end_block - work.first_block):
        # The next block sets out before this one is computed.
        now = coming
        block += -1 if DESCENDING else 1
        coming = fetch_next(grad_ptr, gate_ptr, logits_ptr, work, block, done + 1, COLUMNS, EVEN, LINES)
        put = work.known[:, None, None] & work.owned[None, :, None] & now.mask

        starts = starts_of(now, work, chunk, BACKWARDS)
        prev, same, following, value = flows_of(
            now, work, now.gate.to(DTYPE), starts, now.value.to(DTYPE), CONVEX, EVEN
        )
        ps, ss = split_lines(prev, DESCENDING), split_lines(same, DESCENDING)
        ns, vs = split_lines(following, DESCENDING), split_lines(value, DESCENDING)
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
        tl.store(total_ptr + work.channel + now.place, join_lines(totals, DESCENDING, LINES), mask=put)
    if CARRIED:
        store_state(after_ptr, state, work, group)


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
