"""The forward kernels of the line scan for numba: the order of lines in memory, and the arithmetic of a line.

Rows (down, up) are read where they are. Columns (right, left) are transposed, a block at a time, into lines
of a scratch that fits the cache, and their states are transposed back: memory is read along the rows of a
map, and no transposed copy of all of it ever exists.

What `rows` and `columns` call is always inlined. A function compiled on its own as well would be there twice
in the process that compiles, optimised once and twice, and the two round differently; a process that reads
numba's cache has the second only. Importing this module compiles nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from gspn_core.ops.cpu import vectors
from gspn_core.ops.cpu.vectors import (
    exp,
    narrow,
    prefetch,
    reciprocal,
    turn_in,
    turn_out,
    wide_vectors,
    widen,
)  # fmt: skip

# How many lines early a line is asked for: as long as memory takes to answer.
LINES_AHEAD = 4

inline = njit(**vectors.INLINED)
compiled = njit(cache=True, nogil=True, fastmath=set(vectors.MATHS), error_model="numpy")


def numbers(like):
    """Return 0, 1, and exponents: of a sum in which 1 is lost, of the largest term, of the smallest."""
    raise NotImplementedError(like)


@overload(numbers, jit_options=vectors.INLINED)
def _numbers_of_its_type(like):
    kind, exponents = (np.float32, (20, 40, -87)) if like == types.float32 else (np.float64, (40, 80, -700))
    zero, one, lost, most, least = (kind(n) for n in (0, 1, *exponents))
    return lambda like: (zero, one, lost, most, least)  # noqa: ARG005


@inline
def inverse_odds(a, b, c):
    """Return E for three logits, of which sigmoid(l) is proportional to 1 / (1 + E).

    E = e^(s - l) with s = 0, but far below zero, where the 1 is lost and the logits' differences count, s
    puts the least E just above that. Larger E than a product of two can hold stand for weights that the
    carry's precision cannot show.
    """
    zero, _, lost, most, least = numbers(a)
    s = a if a > b else b
    s = (s if s > c else c) + lost
    s = zero if s > zero else s
    a, b, c = s - a, s - b, s - c
    # Compared so that NaN stays NaN.
    a = most if a > most else a
    b = most if b > most else b
    c = most if c > most else c
    a = least if a < least else a
    b = least if b < least else b
    c = least if c < least else c
    return exp(a), exp(b), exp(c)


@inline
def unscaled_weights(a, b, c, before, after):
    """Return a cell's weights times their sum; before and after are 1, or 0 where no neighbour is there.

    The logit of a neighbour that is not there does not matter.
    """
    zero, one, _, _, _ = numbers(b)
    a, b, c = inverse_odds(a if before > zero else b, b, c if after > zero else b)
    a, b, c = one + a, one + b, one + c
    return before * b * c, a * c, after * a * b


def opened(raw, share, convex):
    """Return a gate as the scan uses it: for a merge in the convex form, the sigmoid of what is stored."""
    raise NotImplementedError(raw, share, convex)


@overload(opened, jit_options=vectors.INLINED)
def _opened_for_its_use(raw, share, convex):  # noqa: ARG001
    if isinstance(share, types.NoneType):
        return lambda raw, share, convex: raw  # noqa: ARG005
    return lambda raw, share, convex: sigmoid(raw) if convex else raw  # noqa: ARG005


@inline
def sigmoid(x):
    zero, one, _, most, least = numbers(x)
    x = zero - x
    x = most + most if x > most + most else x
    return reciprocal(one + exp(least if x < least else x))


def leave(state, out, share, m, k, i, j):
    """Write a state into out, or add share times it."""
    raise NotImplementedError(state, out, share, m, k, i, j)


@overload(leave, jit_options=vectors.INLINED)
def _leave_for_its_use(state, out, share, m, k, i, j):  # noqa: ARG001
    if isinstance(share, types.NoneType):

        def leave_state(state, out, share, m, k, i, j):  # noqa: ARG001
            out[m, k, i, j] = narrow(state, out)

        return leave_state

    def leave_sum(state, out, share, m, k, i, j):
        out[m, k, i, j] = narrow(widen(out[m, k, i, j]) + widen(share[m, k, i, j]) * state, out)

    return leave_sum


@inline
def neighbours(length, states):
    """Return (2, length) in the type of states: for a line's cells, 1 where there is one before, and after.

    An array, because LLVM makes of a condition on the place a loop of its own for the last cell, and of the
    rest one whose length no vector divides.
    """
    there = np.ones((2, length), states.dtype)
    there[0, 0] = there[1, length - 1] = 0
    return there


@inline
def _start(x, gate, out, share, m, k, i, now, convex, states):
    """Restart at line i: its states are gate·x, or x where a merge opens the gate."""
    for j in range(x.shape[3]):
        state = widen(x[m, k, i, j])
        if share is None or not convex:
            state = widen(gate[m, k, i, j]) * state
        states[now, j + 1] = state
        leave(state, out, share, m, k, i, j)


@inline
def fetch(source, m, k, i):
    """Ask for line i of map m, k, which will be read soon."""
    K, H, W = source.shape[1:]
    start = ((m * K + k) * H + i) * W
    for j in range(0, W, vectors.COLUMNS):
        prefetch(source, start + j)


@inline
def scan_alone(
    logits, x, gate, out, share, m, k, first, count, done, backwards, chunk, convex, states, there, ahead
):
    """Scan `count` lines from line `first` of map m, k on, where no other map shares the logits.

    `done` lines came before in the direction of travel. The states of a line and of the line before it take
    turns in states (2, length + 2), whose outer cells, the neighbours that do not exist, stay zero. The line
    that comes `ahead` lines later is asked for, 0 where all of them are in the cache.
    """
    wide_vectors()
    _, one, _, _, _ = numbers(convex)
    for s in range(count):
        i = first + (count - 1 - s if backwards else s)
        now, then = (done + s) % 2, 1 - (done + s) % 2
        if ahead and s + ahead < count:
            later = i - ahead if backwards else i + ahead
            for n in range(3):
                fetch(logits, m, n, later)
            fetch(x, m, k, later)
            fetch(gate, m, k, later)
        if (done + s) % chunk == 0:
            _start(x, gate, out, share, m, k, i, now, convex, states)
            continue
        for j in range(x.shape[3]):
            prev, same, following = logits[m, 0, i, j], logits[m, 1, i, j], logits[m, 2, i, j]
            a, b, c = unscaled_weights(widen(prev), widen(same), widen(following), there[0, j], there[1, j])
            mean = a * states[then, j] + b * states[then, j + 1] + c * states[then, j + 2]
            g = opened(widen(gate[m, k, i, j]), share, convex)
            state = (one - convex * g) * reciprocal(a + b + c) * mean + g * widen(x[m, k, i, j])
            states[now, j + 1] = state
            leave(state, out, share, m, k, i, j)


@inline
def weigh(logits, m, first, count, weights, there):
    """Write the weights (3, lines, length) of `count` lines of a map m from line `first` on."""
    wide_vectors()
    for t in range(count):
        i = first + t
        for j in range(logits.shape[3]):
            prev, same, following = logits[m, 0, i, j], logits[m, 1, i, j], logits[m, 2, i, j]
            a, b, c = unscaled_weights(widen(prev), widen(same), widen(following), there[0, j], there[1, j])
            r = reciprocal(a + b + c)
            weights[0, t, j], weights[1, t, j], weights[2, t, j] = a * r, b * r, c * r


@inline
def scan_weighed(weights, x, gate, out, share, m, k, first, count, done, backwards, chunk, convex, states):
    """Scan as `scan_alone` does, with the weights that `weigh` made for all maps that share them."""
    wide_vectors()
    _, one, _, _, _ = numbers(convex)
    for s in range(count):
        t = count - 1 - s if backwards else s
        i, now, then = first + t, (done + s) % 2, 1 - (done + s) % 2
        if (done + s) % chunk == 0:
            _start(x, gate, out, share, m, k, i, now, convex, states)
            continue
        for j in range(x.shape[3]):
            a, b, c = weights[0, t, j], weights[1, t, j], weights[2, t, j]
            mean = a * states[then, j] + b * states[then, j + 1] + c * states[then, j + 2]
            g = opened(widen(gate[m, k, i, j]), share, convex)
            state = (one - convex * g) * mean + g * widen(x[m, k, i, j])
            states[now, j + 1] = state
            leave(state, out, share, m, k, i, j)


@compiled
def rows(x, gate, logits, out, share, m0, m1, k0, k1, backwards, size, chunk, convex):
    """Scan maps m0 … m1 - 1, k0 … k1 - 1 of x (M, K, H, W) along their rows, `size` rows at a time."""
    wide_vectors()
    K, H, W = out.shape[1:]
    states = np.full((K, 2, W + 2), convex - convex)
    there = neighbours(W, states)
    weights = np.empty((3, size, W), states.dtype)
    for m in range(m0, m1):
        if K == 1:
            how = (m, 0, 0, H, 0, backwards, chunk, convex, states[0], there, LINES_AHEAD)
            scan_alone(logits, x, gate, out, share, *how)
            continue
        for done in range(0, H, size):
            count = min(size, H - done)
            first = H - done - count if backwards else done
            weigh(logits, m, first, count, weights, there)
            for k in range(k0, k1):
                how = (m, k, first, count, done, backwards, chunk, convex, states[k])
                scan_weighed(weights, x, gate, out, share, *how)


def _scratch_for(share, block):
    """Return a scratch like block for share's lines, None for None."""
    raise NotImplementedError(share, block)


@overload(_scratch_for, jit_options=vectors.INLINED)
def _scratch_for_its_use(share, block):  # noqa: ARG001
    if isinstance(share, types.NoneType):
        return lambda share, block: None  # noqa: ARG005
    return lambda share, block: np.empty_like(block)  # noqa: ARG005


@inline
def gather(source, m, k, first, count, block, n):
    """Transpose `count` columns of map m, k from column `first` on into block[0, n] (lines, H)."""
    H, W = source.shape[2:]
    K, lines = source.shape[1], block.shape[2]
    start, target = (m * K + k) * H * W + first, n * lines * H
    if H < vectors.ROWS or count < vectors.COLUMNS:
        for t in range(count):
            for j in range(H):
                block[0, n, t, j] = widen(source[m, k, j, first + t])
        return
    # The last block may overlap the one before it.
    for row in range(0, H, vectors.ROWS):
        j = min(row, H - vectors.ROWS)
        for column in range(0, count, vectors.COLUMNS):
            t = min(column, count - vectors.COLUMNS)
            # Over the blocks of a cache line's columns, all rows of the block after the next.
            ahead = start + (j + 2 * vectors.ROWS + column % vectors.ROWS) * W + t
            for r in range(vectors.COLUMNS):
                prefetch(source, ahead + r * W)
            turn_in(source, start + j * W + t, W, block, target + t * H + j, H)


@inline
def scatter(block, n, target, m, k, first, count):
    """Transpose the lines of block[0, n] back: the inverse of `gather`."""
    H, W = target.shape[2:]
    K, lines = target.shape[1], block.shape[2]
    start, source = (m * K + k) * H * W + first, n * lines * H
    if H < vectors.ROWS or count < vectors.COLUMNS:
        for j in range(H):
            for t in range(count):
                target[m, k, j, first + t] = narrow(block[0, n, t, j], target)
        return
    for row in range(0, H, vectors.ROWS):
        j = min(row, H - vectors.ROWS)
        for column in range(0, count, vectors.COLUMNS):
            t = min(column, count - vectors.COLUMNS)
            turn_out(block, source + t * H + j, H, target, start + j * W + t, W)


@compiled
def columns(x, gate, logits, out, share, m0, m1, k0, k1, backwards, size, chunk, convex):
    """Scan maps m0 … m1 - 1, k0 … k1 - 1 of x (M, K, H, W) along their columns, `size` columns at a time."""
    wide_vectors()
    K, H, W = out.shape[1:]
    states = np.full((K, 2, H + 2), convex - convex)
    there = neighbours(H, states)
    weights = np.empty((3, size, H), states.dtype)
    transposed = np.empty((1, 3, size, H), states.dtype)
    inputs = np.empty((1, 1, size, H), states.dtype)
    gates = np.empty((1, 1, size, H), states.dtype)
    block = np.empty((1, 1, size, H), states.dtype)
    shares = _scratch_for(share, block)
    for m in range(m0, m1):
        for done in range(0, W, size):
            count = min(size, W - done)
            first = W - done - count if backwards else done
            for n in range(3):
                gather(logits, m, n, first, count, transposed, n)
            if K > 1:
                weigh(transposed, 0, 0, count, weights, there)
            for k in range(k0, k1):
                gather(x, m, k, first, count, inputs, 0)
                gather(gate, m, k, first, count, gates, 0)
                if share is not None:
                    gather(share, m, k, first, count, shares, 0)
                    gather(out, m, k, first, count, block, 0)
                how = (0, 0, 0, count, done, backwards, chunk, convex, states[k])
                if K == 1:
                    scan_alone(transposed, inputs, gates, block, shares, *how, there, 0)
                else:
                    scan_weighed(weights, inputs, gates, block, shares, *how)
                scatter(block, 0, out, m, k, first, count)
