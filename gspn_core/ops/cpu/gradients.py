"""The backward kernels of the line scan for numba: the gradients of x, gate and logits, hand-written.

Lines are taken in the order opposite to travel, in the blocks, the memory and the arithmetic of
`kernels`. With m the mean of the neighbours, T the gradient of a state and F that of its mean:

    T[i, j] = grad[i, j] + sum over the cells of line i + 1 that take from j of their weight · F
    F = T (free), (1 - gate)·T (convex), 0 where the state starts
    grad x = T·gate,  grad gate = T·x (free), T·(x - m) (convex)
    grad logit_n = F·(neighbour_n - m)·weight_n·(1 - sigmoid(logit_n)), over all channels that share it

Importing this module compiles nothing.
"""

from __future__ import annotations

import numpy as np

from gspn_core.ops.cpu.kernels import (
    compiled,
    gather,
    inline,
    inverse_odds,
    neighbours,
    numbers,
    scatter,
)
from gspn_core.ops.cpu.vectors import reciprocal, wide_vectors


@inline
def _weigh(logits, m, first, count, weights, slopes, there):
    """Write weights, and weights·(1 - sigmoid), of `count` lines of map m: both (3, lines, length)."""
    wide_vectors()
    zero, one, _, _, _ = numbers(weights[0, 0, 0])
    for t in range(count):
        i = first + t
        for j in range(logits.shape[3]):
            b, before, after = logits[m, 1, i, j], there[0, j], there[1, j]
            a = logits[m, 0, i, j] if before > zero else b
            c = logits[m, 2, i, j] if after > zero else b
            a, b, c = inverse_odds(a, b, c)
            p, q, n = before * (one + b) * (one + c), (one + a) * (one + c), after * (one + a) * (one + b)
            r = reciprocal(p + q + n)
            weights[0, t, j], weights[1, t, j], weights[2, t, j] = p * r, q * r, n * r
            slopes[0, t, j] = p * r * a * reciprocal(one + a)
            slopes[1, t, j] = q * r * b * reciprocal(one + b)
            slopes[2, t, j] = n * r * c * reciprocal(one + c)


@inline
def _descend(
    weights, sums, x, gate, state, grad, grad_x, grad_gate,
    m, k, first, count, done, backwards, chunk, convex, flows, before, border,
):  # fmt: skip
    """Go back over `count` lines of map m, k, and add to sums what their weights' slopes multiply.

    flows (2, 3, length + 2) holds weight·F of a line and of the line after it, in turns; border (1, 1, 1,
    length) the states of the line before the first; before (length + 2) is room for those of any.
    """
    wide_vectors()
    zero, one, _, _, _ = numbers(convex)
    length = x.shape[3]
    mean = np.zeros(length, before.dtype)
    flow = np.zeros(length, before.dtype)
    for s in range(count - 1, -1, -1):
        t = count - 1 - s if backwards else s
        i, now, then = first + t, (done + s) % 2, 1 - (done + s) % 2
        if (done + s) % chunk == 0:
            for j in range(length):
                total = grad[m, k, i, j] + flows[then, 0, j + 2] + flows[then, 1, j + 1] + flows[then, 2, j]
                v, g = x[m, k, i, j], gate[m, k, i, j]
                grad_x[m, k, i, j], grad_gate[m, k, i, j] = total * g, total * v
            flows[now] = zero
            continue
        if s == 0:
            for j in range(length):
                before[j + 1] = border[0, 0, 0, j]
        else:
            last = i + 1 if backwards else i - 1
            for j in range(length):
                before[j + 1] = state[m, k, last, j]
        for j in range(length):
            total = grad[m, k, i, j] + flows[then, 0, j + 2] + flows[then, 1, j + 1] + flows[then, 2, j]
            v, g = x[m, k, i, j], gate[m, k, i, j]
            # By differences, so that where all neighbours are the same no gradient is left of the rounding.
            same = before[j + 1]
            mean[j] = same + weights[0, t, j] * (before[j] - same) + weights[2, t, j] * (before[j + 2] - same)
            flow[j] = (one - convex * g) * total
            grad_x[m, k, i, j], grad_gate[m, k, i, j] = total * g, total * (v - convex * mean[j])
        for n in range(3):
            for j in range(length):
                flows[now, n, j + 1] = weights[n, t, j] * flow[j]
                sums[n, t, j] += flow[j] * (before[j + n] - mean[j])


@compiled
def rows(
    x, gate, logits, state, grad, grad_x, grad_gate, grad_logits,
    m0, m1, k0, k1, backwards, size, chunk, convex,
):  # fmt: skip
    """Write the gradients of maps m0 … m1 - 1, k0 … k1 - 1, whose lines are rows."""
    wide_vectors()
    K, H, W = x.shape[1:]
    flows = np.full((K, 2, 3, W + 2), convex - convex)
    before = np.zeros(W + 2, flows.dtype)
    border = np.zeros((1, 1, 1, W), flows.dtype)
    there = neighbours(W, flows)
    weights = np.empty((3, size, W), flows.dtype)
    slopes = np.empty((3, size, W), flows.dtype)
    sums = np.empty((3, size, W), flows.dtype)
    for m in range(m0, m1):
        flows[:] = 0
        for done in range((H - 1) // size * size, -1, -size):
            count = min(size, H - done)
            first = H - done - count if backwards else done
            _weigh(logits, m, first, count, weights, slopes, there)
            sums[:] = 0
            for k in range(k0, k1):
                if done > 0:
                    border[0, 0, 0] = state[m, k, first + count if backwards else first - 1]
                how = (m, k, first, count, done, backwards, chunk, convex, flows[k], before, border)
                _descend(weights, sums, x, gate, state, grad, grad_x, grad_gate, *how)
            for n in range(3):
                for t in range(count):
                    for j in range(W):
                        grad_logits[m, n, first + t, j] = sums[n, t, j] * slopes[n, t, j]


@compiled
def columns(
    x, gate, logits, state, grad, grad_x, grad_gate, grad_logits,
    m0, m1, k0, k1, backwards, size, chunk, convex,
):  # fmt: skip
    """Write the gradients of maps m0 … m1 - 1, k0 … k1 - 1, whose lines are columns."""
    wide_vectors()
    K, H, W = x.shape[1:]
    flows = np.full((K, 2, 3, H + 2), convex - convex)
    before = np.zeros(H + 2, flows.dtype)
    border = np.zeros((1, 1, 1, H), flows.dtype)
    there = neighbours(H, flows)
    weights = np.empty((3, size, H), flows.dtype)
    slopes = np.empty((3, size, H), flows.dtype)
    sums = np.empty((1, 3, size, H), flows.dtype)
    transposed = np.empty((1, 3, size, H), flows.dtype)
    inputs = np.empty((1, 1, size, H), flows.dtype)
    gates = np.empty((1, 1, size, H), flows.dtype)
    states = np.empty((1, 1, size, H), flows.dtype)
    grads = np.empty((1, 1, size, H), flows.dtype)
    grads_x = np.empty((1, 1, size, H), flows.dtype)
    grads_gate = np.empty((1, 1, size, H), flows.dtype)
    for m in range(m0, m1):
        flows[:] = 0
        for done in range((W - 1) // size * size, -1, -size):
            count = min(size, W - done)
            first = W - done - count if backwards else done
            for n in range(3):
                gather(logits, m, n, first, count, transposed, n)
            _weigh(transposed, 0, 0, count, weights, slopes, there)
            sums[:] = 0
            for k in range(k0, k1):
                gather(x, m, k, first, count, inputs, 0)
                gather(gate, m, k, first, count, gates, 0)
                gather(state, m, k, first, count, states, 0)
                gather(grad, m, k, first, count, grads, 0)
                if done > 0:
                    border[0, 0, 0] = state[m, k, :, first + count if backwards else first - 1]
                how = (0, 0, 0, count, done, backwards, chunk, convex, flows[k], before, border)
                _descend(weights, sums[0], inputs, gates, states, grads, grads_x, grads_gate, *how)
                scatter(grads_x, 0, grad_x, m, k, first, count)
                scatter(grads_gate, 0, grad_gate, m, k, first, count)
            for n in range(3):
                for t in range(count):
                    for j in range(H):
                        sums[0, n, t, j] *= slopes[n, t, j]
                scatter(sums, n, grad_logits, m, n, first, count)
