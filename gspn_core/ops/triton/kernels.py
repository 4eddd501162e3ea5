"""The kernels of the line scan for Triton: one that carries a state over lines, one for what needs no order.

A program of `carry` owns CHANNELS channels that share neighbour weights, TILE cells across the lines, and a
span of lines. It reads LINES lines at once as a block (CHANNELS, TILE, LINES) whose addresses run along the
rows of the map whatever the direction, so that columns are read in whole sectors and no transposed copy
exists; the block is taken apart into lines in registers (`_lines`), and the next block is on its way
meanwhile.

A line's neighbours lie in other threads. `tl.gather` would hand them over, but the compiler lays its axis
into one warp, so that all warps compute the whole line (seen in 3.9). So a program leaves every line in a
slot of its own in global memory, float32, passes a barrier, and reads it shifted by one. Within one program
that is sound: a barrier of a thread block orders its weak writes before its weak reads in the memory model of
PTX. The two slots of 4 KiB stay in the L1 or L2 cache and reach no DRAM to speak of.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _weights(prev, same, following, has_prev, has_next, DTYPE: tl.constexpr):
    """Turn three logits into weights: sigmoids divided by their sum over the neighbours that exist.

    sigmoid(l) is proportional to 1 / A with A = e^s + e^(s - l) for any s. With the largest logit as s, or
    zero if that is less, one A is near one; e^MOST stands for any larger e^(s - l), whose share of the sum
    the carry's precision cannot show, so that products of two A are finite.
    """
    MOST: tl.constexpr = 300.0 if DTYPE == tl.float64 else 40.0  # noqa: SIM300
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
def _sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def _place(cell, i, across, along, COLUMNS: tl.constexpr):
    """Return where the cells of the lines i lie in a map, (1, TILE, LINES)."""
    place = cell[None, :, None] * across + i * along
    # Four cells a thread whatever their dtype, as a slot's float32 has: lines then keep their layout.
    return place if COLUMNS else tl.max_contiguous(place, (1, 4, 1))


@triton.jit
def _lines(block, CHANNELS: tl.constexpr, TILE: tl.constexpr, LINES: tl.constexpr):
    """Take a block (CHANNELS, TILE, LINES) apart into LINES lines (CHANNELS, TILE)."""
    if LINES == 4:
        even, odd = tl.split(tl.reshape(block, (CHANNELS, TILE, 2, 2)))
        l0, l2 = tl.split(even)
        l1, l3 = tl.split(odd)
        return l0, l1, l2, l3
    else:  # noqa: RET505  a constant decides: the compiler sees one branch
        even, odd = tl.split(tl.reshape(block, (CHANNELS, TILE, 2, 2, 2)))
        e0, e1 = tl.split(even)
        o0, o1 = tl.split(odd)
        l0, l4 = tl.split(e0)
        l2, l6 = tl.split(e1)
        l1, l5 = tl.split(o0)
        l3, l7 = tl.split(o1)
        return l0, l1, l2, l3, l4, l5, l6, l7


@triton.jit
def _block(lines, CHANNELS: tl.constexpr, TILE: tl.constexpr, LINES: tl.constexpr):
    """Put lines together again: the inverse of `_lines`."""
    if LINES == 4:
        joined = tl.join(tl.join(lines[0], lines[2]), tl.join(lines[1], lines[3]))
    else:
        even = tl.join(tl.join(lines[0], lines[4]), tl.join(lines[2], lines[6]))
        odd = tl.join(tl.join(lines[1], lines[5]), tl.join(lines[3], lines[7]))
        joined = tl.join(even, odd)
    return tl.reshape(joined, (CHANNELS, TILE, LINES))


@triton.jit
def _step(
    state,
    line,
    slot,
    place,
    to_left,
    to_right,
    has_left,
    has_right,
    TRANSPOSED: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Return (what the line puts out, the state after it); `slot` is where the program leaves a line.

    A slot is written again two lines later. All of the program have then passed the barrier of the line
    between, and so have read what they wanted here: one barrier a line is enough.
    """
    prev, same, following, value = line
    if TRANSPOSED:
        # What a cell gave to its neighbours in the line after comes back over their weights.
        total = value + state
        tl.store(slot + place, following * total)
        tl.store(slot + SIZE + place, prev * total)
        tl.debug_barrier()
        left = tl.load(slot + to_left, mask=has_left, other=0.0)
        right = tl.load(slot + SIZE + to_right, mask=has_right, other=0.0)
        return total, left + same * total + right
    else:  # noqa: RET505
        tl.store(slot + place, state)
        tl.debug_barrier()
        left = tl.load(slot + to_left, mask=has_left, other=0.0)
        right = tl.load(slot + to_right, mask=has_right, other=0.0)
        state = prev * left + same * state + following * right + value
        return state, state


@triton.jit
def carry(
    value_ptr, gate_ptr, logits_ptr, out_ptr, share_ptr, carried_ptr, carry_ptr, slots_ptr,
    value_batch, gate_batch, logits_batch, out_batch, share_batch,
    sets, group, height, width, chunk, start, stop, span, tiles, spans,
    COLUMNS: tl.constexpr, BACKWARDS: tl.constexpr, TRANSPOSED: tl.constexpr, CONVEX: tl.constexpr,
    MERGE: tl.constexpr, CARRIED: tl.constexpr, EVEN: tl.constexpr, HALO: tl.constexpr,
    CHANNELS: tl.constexpr, TILE: tl.constexpr, LINES: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """Carry a state over the lines start to stop (in travel order) of every map; one program does one span.

    Forward, `value` is x and `out` becomes h. TRANSPOSED, `value` is the gradient of h and `out` becomes the
    gradient that reaches each h in all, with the lines taken last to first. MERGE, `gate` is what the sigmoid
    makes a gate of when CONVEX (then one on starting lines), and share·h is added to `out`.

    Tensors are (B, sets·group, H·W) and logits (B, sets·3, H·W), channels contiguous, batches *_batch apart;
    the next cell of a line lies `across` and the next line `along` further. The state comes from `carried`
    and goes to `carry`, (B·sets·group, length), if CARRIED. HALO cells on both sides of a tile are computed
    for its neighbours' sake and not written: a wrong value moves one cell a line, so a span (or, CARRIED,
    stop - start) has at most HALO lines where there is more than one tile.
    """
    length, lines, across, along = width, height, 1, width
    if COLUMNS:
        length, lines, across, along = height, width, width, 1
    program = tl.program_id(0)
    tile = program % tiles
    number = program // tiles % spans
    channel_block = program // tiles // spans % tl.cdiv(group, CHANNELS)
    m = (program // tiles // spans // tl.cdiv(group, CHANNELS)).to(tl.int64)
    b, own_set = m // sets, m % sets
    plane = tl.cast(length, tl.int64) * lines
    # Addresses of channels are offsets from a scalar: only then the compiler sees whole sectors.
    first_channel = channel_block * CHANNELS
    base = (own_set * group + first_channel) * plane
    c = tl.arange(0, CHANNELS)
    known_c = c < group - first_channel
    cell = tile * (TILE - 2 * HALO) - HALO + tl.arange(0, TILE)
    channel = c[:, None, None] * plane
    value_ptr += b * value_batch + base
    gate_ptr += b * gate_batch + base
    out_ptr += b * out_batch + base
    logits_ptr += b * logits_batch + own_set * 3 * plane
    if MERGE:
        share_ptr += b * share_batch + base

    inside = (cell >= 0) & (cell < length)
    known = known_c[:, None] & inside[None, :]
    owned = inside & (tl.arange(0, TILE) >= HALO) & (tl.arange(0, TILE) < TILE - HALO)
    written = known_c[:, None, None] & owned[None, :, None]
    # Two slots, of one line forward and of two transposed, of this program alone.
    SLOT: tl.constexpr = CHANNELS * TILE * (2 if TRANSPOSED else 1)
    slots_ptr += program.to(tl.int64) * (2 * SLOT)
    position = tl.arange(0, TILE)[None, :]
    # For columns the exclusive or keeps from the compiler that cells adjoin: it would lay two of them into
    # one thread, and carry every line from layout to layout through shared memory.
    SWAP: tl.constexpr = 1 if COLUMNS else 0
    own = tl.arange(0, CHANNELS)[:, None] * TILE
    spot = own + (position ^ SWAP)
    to_left, to_right = own + ((position - 1) ^ SWAP), own + ((position + 1) ^ SWAP)
    has_left = tl.broadcast_to(position > 0, (CHANNELS, TILE))
    has_right = tl.broadcast_to(position < TILE - 1, (CHANNELS, TILE))

    # Lines in memory order: lowest, and one beyond the highest.
    lowest = start + number * span
    beyond = tl.minimum(lowest + span, stop)
    if BACKWARDS:
        lowest, beyond = lines - beyond, lines - lowest
    first_block, end_block = lowest // LINES, tl.cdiv(beyond, LINES)
    DESCENDING: tl.constexpr = BACKWARDS != TRANSPOSED

    state = tl.zeros((CHANNELS, TILE), DTYPE)
    carried = (m * group + first_channel + c)[:, None] * length + cell[None, :]
    if CARRIED:
        state = tl.load(carried_ptr + carried, mask=known, other=0.0)

    k = tl.arange(0, LINES)
    block = end_block - 1 if DESCENDING else first_block
    i = (block * LINES + k)[None, None, :]
    mask = inside[None, :, None]
    if not EVEN:
        mask = mask & (i >= lowest) & (i < beyond)
    place = _place(cell, i, across, along, COLUMNS)
    full = mask & known_c[:, None, None]
    next_value = tl.load(value_ptr + channel + place, mask=full, other=0.0)
    next_gate = tl.load(gate_ptr + channel + place, mask=full, other=0.0)
    next_prev = tl.load(logits_ptr + place, mask=mask, other=0.0)
    next_same = tl.load(logits_ptr + plane + place, mask=mask, other=0.0)
    next_following = tl.load(logits_ptr + 2 * plane + place, mask=mask, other=0.0)

    for done in range(end_block - first_block):
        value, gate = next_value.to(DTYPE), next_gate.to(DTYPE)
        prev, same, following = next_prev.to(DTYPE), next_same.to(DTYPE), next_following.to(DTYPE)
        now_i, now_mask, now_place = i, mask, place
        # The next block sets out before this one is computed; past the end nothing is read.
        block += -1 if DESCENDING else 1
        i = (block * LINES + k)[None, None, :]
        more = inside & (tl.zeros((TILE,), tl.int32) + done + 1 < end_block - first_block)
        mask = more[None, :, None]
        if not EVEN:
            mask = mask & (i >= lowest) & (i < beyond)
        place = _place(cell, i, across, along, COLUMNS)
        full = mask & known_c[:, None, None]
        next_value = tl.load(value_ptr + channel + place, mask=full, other=0.0)
        next_gate = tl.load(gate_ptr + channel + place, mask=full, other=0.0)
        next_prev = tl.load(logits_ptr + place, mask=mask, other=0.0)
        next_same = tl.load(logits_ptr + plane + place, mask=mask, other=0.0)
        next_following = tl.load(logits_ptr + 2 * plane + place, mask=mask, other=0.0)

        target = out_ptr + channel + now_place
        put = written & now_mask
        if MERGE:
            share = tl.load(share_ptr + channel + now_place, mask=put, other=0.0)
            so_far = tl.load(target, mask=put, other=0.0)

        here = cell[None, :, None]
        prev, same, following = _weights(prev, same, following, here > 0, here < length - 1, DTYPE)
        step = lines - 1 - now_i if BACKWARDS else now_i
        starts = step % chunk == 0
        if MERGE and CONVEX:
            gate = tl.where(starts, 1.0, _sigmoid(gate))
        keep = (1 - gate if CONVEX else tl.full(gate.shape, 1, DTYPE)) * tl.where(starts, 0.0, 1.0).to(DTYPE)
        if not TRANSPOSED:
            value = gate * value
        prev, same, following = keep * prev, keep * same, keep * following
        if not EVEN:
            # Lines of the block that are not of the span hand the state on as it is.
            ours = (now_i >= lowest) & (now_i < beyond)
            prev, following = tl.where(ours, prev, 0.0), tl.where(ours, following, 0.0)
            same, value = tl.where(ours, same, 1.0), tl.where(ours, value, 0.0)
        ps = _lines(prev, CHANNELS, TILE, LINES)
        ss = _lines(same, CHANNELS, TILE, LINES)
        ns = _lines(following, CHANNELS, TILE, LINES)
        vs = _lines(value, CHANNELS, TILE, LINES)
        results = ()
        for n in tl.static_range(LINES):
            if DESCENDING:
                line = ps[LINES - 1 - n], ss[LINES - 1 - n], ns[LINES - 1 - n], vs[LINES - 1 - n]
            else:
                line = ps[n], ss[n], ns[n], vs[n]
            slot = slots_ptr + n % 2 * SLOT
            result, state = _step(
                state, line, slot, spot, to_left, to_right, has_left, has_right, TRANSPOSED, CHANNELS * TILE
            )
            results = (result,) + results if DESCENDING else results + (result,)
        result = _block(results, CHANNELS, TILE, LINES)
        if MERGE:
            result = so_far.to(DTYPE) + share.to(DTYPE) * result
        tl.store(target, result, mask=put)

    if CARRIED:
        tl.store(carry_ptr + carried, state, mask=known_c[:, None] & owned[None, :])


@triton.jit
def differentiate(
    total_ptr, x_ptr, gate_ptr, logits_ptr, state_ptr, grad_x_ptr, grad_gate_ptr, grad_logits_ptr,
    group, height, width, chunk, blocks,
    COLUMNS: tl.constexpr, BACKWARDS: tl.constexpr, CONVEX: tl.constexpr, CELLS: tl.constexpr,
    DTYPE: tl.constexpr,
):  # fmt: skip
    """Turn the whole gradient of every state into those of x, gate and logits; cells need no order.

    Tensors are (maps of logits, group, H·W), logits (maps, 3, H·W). One program does CELLS cells of all the
    channels that share logits, and so their sum.
    """
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
    w0, w1, w2 = _weights(l0, l1, l2, has_prev, has_next, DTYPE)
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
    tl.store(grad_logits_ptr + n, sum0 * w0 * _sigmoid(-l0), mask=inside)
    tl.store(grad_logits_ptr + plane + n, sum1 * w1 * _sigmoid(-l1), mask=inside)
    tl.store(grad_logits_ptr + 2 * plane + n, sum2 * w2 * _sigmoid(-l2), mask=inside)
