"""The kernels of the line scan for numba: how lines lie in memory, and the arithmetic of a line.

Lines are taken in blocks, copied into a scratch that fits the cache, so that columns (right, left) are read
along the rows of a map and no transposed copy of it ever exists. Importing this module compiles nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import overload


def _exp(x):
    return math.exp(x)


_LOG2E = np.float32(1.4426950408889634)
# ln 2 in two parts: the first has few enough bits that k·_LN2_HIGH is exact.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
# Adding 1.5·2^23 rounds a float32 to a whole number and leaves that number in the low bits.
_ROUND = np.float32(12582912.0)
_LOWEST = np.float32(-87.0)
_TAYLOR = tuple(np.float32(1 / math.factorial(n)) for n in range(8))


@overload(_exp)
def _exp_of_its_type(x):
    """Choose math.exp for float64; for float32 a polynomial, which LLVM turns into vector code."""
    if x != types.float32:
        return lambda x: math.exp(x)

    c1, c2, c3, c4, c5, c6, c7 = _TAYLOR[1:]

    def exp32(x):
        x = _LOWEST if x < _LOWEST else x
        shifted = np.float32(x * _LOG2E + _ROUND)
        k = shifted - _ROUND
        r = (x - k * _LN2_HIGH) - k * _LN2_LOW
        p = c1 + r * (c1 + r * (c2 + r * (c3 + r * (c4 + r * (c5 + r * (c6 + r * c7))))))
        power = np.int32((shifted.view(np.int32) - np.int32(0x4B400000 - 127)) << np.int32(23))
        return p * power.view(np.float32)

    return exp32


@njit(cache=True, nogil=True, error_model="numpy")
def _load(block, source, first, count, columns, pad):
    """Copy `count` lines of source (H, W) from line `first` on into block (lines, pad + length + pad)."""
    H, W = source.shape
    if columns:
        for j in range(H):
            for t in range(count):
                block[t, j + pad] = source[j, first + t]
    else:
        for t in range(count):
            for j in range(W):
                block[t, j + pad] = source[first + t, j]


@njit(cache=True, nogil=True, error_model="numpy")
def _store(block, target, first, count, columns, pad):
    """Copy lines out of a block into target (H, W): the inverse of `_load`."""
    H, W = target.shape
    if columns:
        for j in range(H):
            for t in range(count):
                target[j, first + t] = block[t, j + pad]
    else:
        for t in range(count):
            for j in range(W):
                target[first + t, j] = block[t, j + pad]


@njit(cache=True, forceinline=True, error_model="numpy")
def _inverse_sigmoids(a, b, c, most):
    """Return A with sigmoid(l) proportional to 1/A for three logits, of which at least one A is near one.

    A = e^s + e^(s - l) with s = min(max of the logits, 0); e^most stands for all larger e^(s - l), whose
    share of the weights the carry's precision cannot show, so that products of two A are finite.
    """
    zero = most - most
    s = a if a > b else b
    s = s if s > c else c
    s = s if s < zero else zero
    base = _exp(s)
    a, b, c = s - a, s - b, s - c
    a = base + _exp(a if a < most else most)
    b = base + _exp(b if b < most else most)
    c = base + _exp(c if c < most else most)
    return a, b, c


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(logits, length):
    """Turn three padded rows of logits into neighbour weights, in place."""
    prev, same, following = logits
    zero, one, most = prev.dtype.type(0), prev.dtype.type(1), prev.dtype.type(40)
    _, b0, c0 = _inverse_sigmoids(same[1], same[1], following[1], most)
    a1, b1, _ = _inverse_sigmoids(prev[length], same[length], same[length], most)
    for j in range(1, length + 1):
        a, b, c = _inverse_sigmoids(prev[j], same[j], following[j], most)
        r = one / (b * c + a * c + a * b)
        prev[j] = b * c * r
        same[j] = a * c * r
        following[j] = a * b * r
    # The ends have two neighbours, or one where the line is a single cell.
    prev[1], same[1], following[1] = zero, c0 / (b0 + c0), b0 / (b0 + c0)
    prev[length], same[length], following[length] = b1 / (a1 + b1), a1 / (a1 + b1), zero
    if length == 1:
        prev[1], same[1] = zero, one


@njit(cache=True, nogil=True, error_model="numpy")
def _slope(logits, slopes):
    """Write 1 - sigmoid(logits) into slopes: what the gradient needs of the logits beside their weights."""
    one, most = logits.dtype.type(1), logits.dtype.type(80)
    for j in range(1, len(logits) - 1):
        logit = logits[j]
        slopes[j] = one / (one + _exp(logit if logit < most else most))


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(weights, before, mean):
    """Write the weighted mean of the three neighbours in the line before; all rows are padded."""
    prev, same, following = weights
    for j in range(1, len(mean) - 1):
        mean[j] = prev[j] * before[j - 1] + same[j] * before[j] + following[j] * before[j + 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _flow_back(weights, later, total):
    """Add to a line's gradient what flows back from the line after it: the transpose of `_mix`."""
    prev, same, following = weights
    for j in range(1, len(total) - 1):
        total[j] += prev[j + 1] * later[j + 1] + same[j] * later[j] + following[j - 1] * later[j - 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_slopes(sums, flow, before, mean):
    """Add flow·(neighbour - mean): the gradient of a logit but for its weight·(1 - sigmoid)."""
    prev, same, following = sums
    for j in range(1, len(mean) - 1):
        prev[j] += flow[j] * (before[j - 1] - mean[j])
    for j in range(1, len(mean) - 1):
        same[j] += flow[j] * (before[j] - mean[j])
    for j in range(1, len(mean) - 1):
        following[j] += flow[j] * (before[j + 1] - mean[j])


@njit(cache=True, nogil=True, error_model="numpy")
def _differentiate_inputs(inputs, gates, total, mean, convex):
    """Turn a line of x and of gate into their gradients, in place."""
    for j in range(1, len(mean) - 1):
        v, g = inputs[j], gates[j]
        inputs[j] = total[j] * g
        gates[j] = total[j] * (v - convex * mean[j])


@njit(cache=True, nogil=True, error_model="numpy")
def backward(
    x, gate, logits, states, grad, grad_x, grad_gate, grad_logits,
    m0, m1, c0, c1, columns, backwards, size, chunk, convex,
):  # fmt: skip
    H, W = states.shape[2:]
    lines, length = (W, H) if columns else (H, W)
    zero, one = states.dtype.type(0), states.dtype.type(1)
    weights = np.zeros((3, size, length + 2), states.dtype)
    slopes = np.empty((3, size, length + 2), states.dtype)
    sums = np.empty((3, size, length + 2), states.dtype)
    inputs = np.empty((size, length + 2), states.dtype)
    gates = np.empty((size, length + 2), states.dtype)
    grads = np.empty((size, length + 2), states.dtype)
    block = np.zeros((size, length + 2), states.dtype)
    flows = np.zeros((size, length + 2), states.dtype)
    mean = np.zeros(length + 2, states.dtype)
    # What a block needs of its neighbours in travel order: the state of the line before it, and the weights
    # and the gradient of the mean (`flow`) of the line after it.
    border = np.zeros((1, length + 2), states.dtype)
    later_weights = np.zeros((3, length + 2), states.dtype)
    carried = np.zeros((c1 - c0, length + 2), states.dtype)
    for m in range(m0, m1):
        carried[:] = zero
        later_weights[:] = zero
        for done in range((lines - 1) // size * size, -1, -size):
            count = min(size, lines - done)
            first = lines - done - count if backwards else done
            for k in range(3):
                _load(weights[k], logits[m, k], first, count, columns, 1)
            for t in range(count):
                for k in range(3):
                    _slope(weights[k, t], slopes[k, t])
                _weigh((weights[0, t], weights[1, t], weights[2, t]), length)
            sums[:] = zero
            for c in range(c0, c1):
                _load(inputs, x[m, c], first, count, columns, 1)
                _load(gates, gate[m, c], first, count, columns, 1)
                _load(grads, grad[m, c], first, count, columns, 1)
                _load(block, states[m, c], first, count, columns, 1)
                if done > 0:
                    _load(border, states[m, c], first + count if backwards else first - 1, 1, columns, 1)
                later = carried[c - c0]
                prev, same, following = later_weights[0], later_weights[1], later_weights[2]
                for s in range(count - 1, -1, -1):
                    t = count - 1 - s if backwards else s
                    total, flow = grads[t], flows[t]
                    _flow_back((prev, same, following), later, total)
                    prev, same, following = weights[0, t], weights[1, t], weights[2, t]
                    if (done + s) % chunk == 0:
                        flow[:] = zero
                        mean[:] = zero
                    else:
                        before = border[0] if s == 0 else block[t + 1 if backwards else t - 1]
                        _mix((prev, same, following), before, mean)
                        for j in range(1, length + 1):
                            flow[j] = (one - convex * gates[t, j]) * total[j]
                        _add_slopes((sums[0, t], sums[1, t], sums[2, t]), flow, before, mean)
                    _differentiate_inputs(inputs[t], gates[t], total, mean, convex)
                    later = flow
                _store(inputs, grad_x[m, c], first, count, columns, 1)
                _store(gates, grad_gate[m, c], first, count, columns, 1)
                carried[c - c0] = later
            start = count - 1 if backwards else 0
            for k in range(3):
                later_weights[k] = weights[k, start]
                for t in range(count):
                    for j in range(1, length + 1):
                        sums[k, t, j] *= weights[k, t, j] * slopes[k, t, j]
                _store(sums[k], grad_logits[m, k], first, count, columns, 1)
