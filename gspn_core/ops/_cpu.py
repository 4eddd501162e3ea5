"""The line scan compiled by numba: forward and hand-written backward for tensors on the CPU.

Knows how lines lie in memory. Lines are taken in blocks of 16 copied into a scratch that fits the cache, so
that columns (right, left) are read by whole cache lines and no transposed copy of a map ever exists. Threads
are Python's own and the kernels release the interpreter lock: unlike numba's parallel loops this is safe from
any thread, and it leaves the process's thread count alone.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload
from torch import Tensor

# A smaller piece of work costs less than the thread that would do it (about 50 microseconds).
_PIXELS_PER_THREAD = 1 << 17
_BLOCK = 16


def forward(
    x: Tensor, gate: Tensor, logits: Tensor, direction: str, chunk_size: int | None, gating: str
) -> Tensor:
    """Scan x (B, C, H, W) in the dtype of the carry; arguments as `line_scan` checked them."""
    inputs = _arrays(x, gate, logits)
    state = torch.empty(x.shape, dtype=_carry(x))
    out = state.numpy().reshape(inputs[0].shape)
    settings = _settings(out, direction, chunk_size, gating)
    _share_out(out.shape, lambda _, *part: _forward(*inputs, out, *part, *settings))
    return state


def backward(
    grad: Tensor,
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    state: Tensor,
    direction: str,
    chunk_size: int | None,
    gating: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, gate and logits in the dtype of the carry, given that of the state."""
    inputs = _arrays(x, gate, logits)
    maps = inputs[0].shape
    state, grad = (_array(tensor).reshape(maps) for tensor in (state, grad))
    grad_x, grad_gate = (torch.empty(x.shape, dtype=_carry(x)) for _ in range(2))
    # Channels that share logits and are done by several threads each leave their own sum.
    sums = torch.empty((_channel_parts(maps), *logits.shape), dtype=_carry(x))
    outputs = grad_x.numpy().reshape(maps), grad_gate.numpy().reshape(maps)
    partial = sums.numpy().reshape(len(sums), maps[0], 3, *maps[2:])
    settings = _settings(state, direction, chunk_size, gating)
    _share_out(maps, lambda k, *part: _backward(*inputs, state, grad, *outputs, partial[k], *part, *settings))
    return grad_x, grad_gate, sums[0] if len(sums) == 1 else sums.sum(0)


def _carry(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(_carry(tensor)).contiguous().numpy()


def _arrays(x: Tensor, gate: Tensor, logits: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x and gate as (maps of logits, channels that share one, H, W), logits as (maps, 3, H, W)."""
    B, C, H, W = x.shape
    M = B * logits.shape[1]
    G = C // logits.shape[1] if C else 0
    shape = (M, G, H, W)
    return _array(x).reshape(shape), _array(gate).reshape(shape), _array(logits).reshape(M, 3, H, W)


def _settings(state: np.ndarray, direction: str, chunk_size: int | None, gating: str):
    """Return what the kernels want: columns?, backwards?, lines per chunk, and 1 for convex as a float."""
    columns = direction in ("right", "left")
    chunk = chunk_size or state.shape[3 if columns else 2]
    return columns, direction in ("left", "up"), chunk, state.dtype.type(gating == "convex")


def _threads(maps: tuple[int, ...]) -> int:
    return max(1, min(torch.get_num_threads(), math.prod(maps) // _PIXELS_PER_THREAD))


def _channel_parts(maps: tuple[int, ...]) -> int:
    """Return in how many parts the channels of one logits map are done; 1 if the maps go round."""
    M, G = maps[:2]
    return max(1, min(G, -(-_threads(maps) // max(1, M))))


def _share_out(maps: tuple[int, ...], work) -> None:
    """Call work(channel part, first map, end map, first channel, end channel) for every part, on threads."""
    M, G = maps[:2]
    K = _channel_parts(maps)
    S = max(1, min(M, _threads(maps) // K))
    parts = [
        (k, M * s // S, M * (s + 1) // S, G * k // K, G * (k + 1) // K) for s in range(S) for k in range(K)
    ]
    if len(parts) == 1:
        work(*parts[0])
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(work, *part) for part in parts]:
            done.result()


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


@njit(cache=True, nogil=True)
def _load(block, source, start, count, columns, backwards, pad):
    """Copy `count` lines of source (H, W), in travel order, into block (lines, pad + length + pad)."""
    H, W = source.shape
    if columns:
        first = W - 1 - start if backwards else start
        step = -1 if backwards else 1
        for j in range(H):
            for t in range(count):
                block[t, j + pad] = source[j, first + step * t]
    else:
        for t in range(count):
            i = H - 1 - start - t if backwards else start + t
            for j in range(W):
                block[t, j + pad] = source[i, j]


@njit(cache=True, nogil=True)
def _store(block, target, start, count, columns, backwards, pad):
    """Copy lines out of a block into target (H, W): the inverse of `_load`."""
    H, W = target.shape
    if columns:
        first = W - 1 - start if backwards else start
        step = -1 if backwards else 1
        for j in range(H):
            for t in range(count):
                target[j, first + step * t] = block[t, j + pad]
    else:
        for t in range(count):
            i = H - 1 - start - t if backwards else start + t
            for j in range(W):
                target[i, j] = block[t, j + pad]


@njit(cache=True, nogil=True)
def _inverse_sigmoids(a, b, c, most):
    """Return E and A with sigmoid(l) proportional to 1/A and 1 - sigmoid(l) = E/A, for three logits.

    A = e^s + E and E = e^(s - l), with s = min(max of the logits, 0), so that the smallest A is near one;
    e^most stands for all larger E, whose share of the weights the carry's precision cannot show.
    """
    zero = most - most
    s = a if a > b else b
    s = s if s > c else c
    s = s if s < zero else zero
    base = _exp(s)
    ea, eb, ec = s - a, s - b, s - c
    ea = _exp(ea if ea < most else most)
    eb = _exp(eb if eb < most else most)
    ec = _exp(ec if ec < most else most)
    return ea, eb, ec, base + ea, base + eb, base + ec


@njit(cache=True, nogil=True)
def _weigh(weights, slopes, row, length):
    """Turn one padded row of logits into neighbour weights, in place, and 1 - sigmoid into slopes."""
    prev, same, following = weights[0], weights[1], weights[2]
    one = prev.dtype.type(1)
    zero = prev.dtype.type(0)
    most = prev.dtype.type(40)
    first_b, first_c = same[row, 1], following[row, 1]
    last_a, last_b = prev[row, length], same[row, length]
    for j in range(1, length + 1):
        ea, eb, ec, a, b, c = _inverse_sigmoids(prev[row, j], same[row, j], following[row, j], most)
        r = one / (b * c + a * c + a * b)
        prev[row, j] = b * c * r
        same[row, j] = a * c * r
        following[row, j] = a * b * r
        slopes[0, row, j] = ea / a
        slopes[1, row, j] = eb / b
        slopes[2, row, j] = ec / c
    # The ends have two neighbours, or one where the line is a single cell.
    _, eb, ec, _, b, c = _inverse_sigmoids(first_b, first_b, first_c, most)
    prev[row, 1], same[row, 1], following[row, 1] = zero, c / (b + c), b / (b + c)
    slopes[1, row, 1], slopes[2, row, 1] = eb / b, ec / c
    ea, eb, _, a, b, _ = _inverse_sigmoids(last_a, last_b, last_b, most)
    prev[row, length], same[row, length], following[row, length] = b / (a + b), a / (a + b), zero
    slopes[0, row, length], slopes[1, row, length] = ea / a, eb / b
    if length == 1:
        prev[row, 1], same[row, 1], following[row, 1] = zero, one, zero


@njit(cache=True, nogil=True)
def _forward(x, gate, logits, out, m0, m1, c0, c1, columns, backwards, chunk, convex):
    H, W = out.shape[2:]
    lines, length = (W, H) if columns else (H, W)
    one = out.dtype.type(1)
    weights = np.zeros((3, _BLOCK, length + 2), out.dtype)
    inputs = np.empty((_BLOCK, length), out.dtype)
    gates = np.empty((_BLOCK, length), out.dtype)
    # Row 0 is the line before the block; the outer cells stay zero.
    states = np.zeros((_BLOCK + 1, length + 2), out.dtype)
    carried = np.zeros((c1 - c0, length + 2), out.dtype)
    slopes = np.empty((3, _BLOCK, length + 2), out.dtype)
    prev, same, following = weights[0], weights[1], weights[2]
    for m in range(m0, m1):
        for start in range(0, lines, _BLOCK):
            count = min(_BLOCK, lines - start)
            for k in range(3):
                _load(weights[k], logits[m, k], start, count, columns, backwards, 1)
            for t in range(count):
                _weigh(weights, slopes, t, length)
            for c in range(c0, c1):
                _load(inputs, x[m, c], start, count, columns, backwards, 0)
                _load(gates, gate[m, c], start, count, columns, backwards, 0)
                states[0] = carried[c - c0]
                for t in range(count):
                    if (start + t) % chunk == 0:
                        for j in range(length):
                            states[t + 1, j + 1] = gates[t, j] * inputs[t, j]
                    else:
                        for j in range(length):
                            mixed = (
                                prev[t, j + 1] * states[t, j]
                                + same[t, j + 1] * states[t, j + 1]
                                + following[t, j + 1] * states[t, j + 2]
                            )
                            states[t + 1, j + 1] = (one - convex * gates[t, j]) * mixed + gates[
                                t, j
                            ] * inputs[t, j]
                carried[c - c0] = states[count]
                _store(states[1:], out[m, c], start, count, columns, backwards, 1)


@njit(cache=True, nogil=True)
def _backward(
    x,
    gate,
    logits,
    state,
    grad,
    grad_x,
    grad_gate,
    grad_logits,
    m0,
    m1,
    c0,
    c1,
    columns,
    backwards,
    chunk,
    convex,
):
    H, W = state.shape[2:]
    lines, length = (W, H) if columns else (H, W)
    one = state.dtype.type(1)
    zero = state.dtype.type(0)
    # Weights and the gradient of the mean hold one line more, the first of the block after: row `count`.
    weights = np.zeros((3, _BLOCK + 1, length + 2), state.dtype)
    slopes = np.empty((3, _BLOCK, length + 2), state.dtype)
    means = np.zeros((_BLOCK + 1, length + 2), state.dtype)
    inputs = np.empty((_BLOCK, length), state.dtype)
    gates = np.empty((_BLOCK, length), state.dtype)
    grads = np.empty((_BLOCK, length), state.dtype)
    before = np.zeros((_BLOCK + 1, length + 2), state.dtype)
    carried = np.zeros((c1 - c0, length + 2), state.dtype)
    sums = np.empty((3, _BLOCK, length), state.dtype)
    prev, same, following = weights[0], weights[1], weights[2]
    for m in range(m0, m1):
        carried[:] = zero
        for block in range((lines - 1) // _BLOCK, -1, -1):
            start = block * _BLOCK
            count = min(_BLOCK, lines - start)
            for k in range(3):
                weights[k, count] = weights[k, 0]
                _load(weights[k], logits[m, k], start, count, columns, backwards, 1)
            for t in range(count):
                _weigh(weights, slopes, t, length)
            sums[:] = zero
            for c in range(c0, c1):
                _load(inputs, x[m, c], start, count, columns, backwards, 0)
                _load(gates, gate[m, c], start, count, columns, backwards, 0)
                _load(grads, grad[m, c], start, count, columns, backwards, 0)
                if start == 0:
                    _load(before[1:], state[m, c], 0, count, columns, backwards, 1)
                else:
                    _load(before, state[m, c], start - 1, count, columns, backwards, 1)
                means[count] = carried[c - c0]
                for t in range(count - 1, -1, -1):
                    restart = (start + t) % chunk == 0
                    for j in range(length):
                        g, v = gates[t, j], inputs[t, j]
                        total = (
                            grads[t, j]
                            + prev[t + 1, j + 2] * means[t + 1, j + 2]
                            + same[t + 1, j + 1] * means[t + 1, j + 1]
                            + following[t + 1, j] * means[t + 1, j]
                        )
                        inputs[t, j] = total * g
                        if restart:
                            gates[t, j] = total * v
                            means[t, j + 1] = zero
                        else:
                            a, b, d = before[t, j], before[t, j + 1], before[t, j + 2]
                            mean = prev[t, j + 1] * a + same[t, j + 1] * b + following[t, j + 1] * d
                            flow = (one - convex * g) * total
                            gates[t, j] = total * (v - convex * mean)
                            means[t, j + 1] = flow
                            sums[0, t, j] += flow * (a - mean)
                            sums[1, t, j] += flow * (b - mean)
                            sums[2, t, j] += flow * (d - mean)
                carried[c - c0] = means[0]
                _store(inputs, grad_x[m, c], start, count, columns, backwards, 0)
                _store(gates, grad_gate[m, c], start, count, columns, backwards, 0)
            for k in range(3):
                for t in range(count):
                    for j in range(length):
                        sums[k, t, j] *= weights[k, t, j + 1] * slopes[k, t, j + 1]
                _store(sums[k], grad_logits[m, k], start, count, columns, backwards, 0)
