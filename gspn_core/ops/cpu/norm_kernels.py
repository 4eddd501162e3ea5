"""The kernels of the normalization for numba: sums over a map whose channels are last, and what they make.

A map (B, H·W, C) is read as (B, R, L), rows of L numbers: one pixel's channels, or those of several pixels
where C is small, so that a row is some vectors long. Every lane of a row then is one channel, and the loops
over a row need no condition. Sums are taken of blocks of ROWS rows, whichever thread does them, and added up
in float64: the result does not depend on the number of threads. Importing this module compiles nothing.
"""

from __future__ import annotations

import numpy as np

from gspn_core.ops.cpu.kernels import compiled, sigmoid
from gspn_core.ops.cpu.vectors import wide_vectors

# Rows whose sums are kept in float32 before they are added up in float64.
ROWS = 64


@compiled
def add_up(x, sums, first, end):
    """Write the sums of x - pivot and of its square over the blocks first … end - 1 of all samples.

    Args:
        x: (B, R, L).
        sums: (B, ceil(R / ROWS), 2, L); the pivot is the sample's first row, near which the numbers are.
        first, end: blocks, counted through all samples.
    """
    wide_vectors()
    R, L = x.shape[1:]
    blocks = sums.shape[1]
    for n in range(first, end):
        b, block = n // blocks, n % blocks
        for j in range(L):
            sums[b, block, 0, j] = 0
            sums[b, block, 1, j] = 0
        for i in range(block * ROWS, min(R, (block + 1) * ROWS)):
            for j in range(L):
                v = x[b, i, j] - x[b, 0, j]
                sums[b, block, 0, j] += v
                sums[b, block, 1, j] += v * v


@compiled
def settle(x, sums, shift, weight, bias, groups, eps, scale, offset):
    """Write scale and offset (B, L), with which x·scale + offset is the normalized map.

    Args:
        x, sums: as `add_up` left them.
        shift: (B, C), which is added to x before the normalization.
        weight, bias: (C,).
        groups: channels are normalized in as many groups of C / groups.
        eps: added to the variance.
        scale, offset: written.
    """
    B, C = shift.shape
    R, L = x.shape[1:]
    width, repeats = C // groups, L // C
    means = np.empty(C)
    spreads = np.empty(C)
    totals = np.empty(L)
    squares = np.empty(L)
    for b in range(B):
        means[:] = 0
        spreads[:] = 0
        totals[:] = 0
        squares[:] = 0
        for block in range(sums.shape[1]):
            for j in range(L):
                totals[j] += np.float64(sums[b, block, 0, j])
                squares[j] += np.float64(sums[b, block, 1, j])
        for j in range(L):
            # Lanes of one channel have pivots of their own.
            pivot = np.float64(x[b, 0, j]) + np.float64(shift[b, j % C])
            means[j % C] += pivot + totals[j] / R
            spreads[j % C] += squares[j] / R + pivot * (pivot + 2 * totals[j] / R)
        for group in range(groups):
            first = group * width
            mean = means[first : first + width].sum() / (width * repeats)
            square = spreads[first : first + width].sum() / (width * repeats)
            deviation = np.sqrt(max(square - mean * mean, 0.0) + eps)
            for c in range(first, first + width):
                for j in range(c, L, C):
                    factor = np.float64(weight[c]) / deviation
                    scale[b, j] = factor
                    offset[b, j] = np.float64(bias[c]) + (np.float64(shift[b, c]) - mean) * factor


@compiled
def activate(x, scale, offset, out, first, end):
    """Write silu(x·scale + offset) of the blocks first … end - 1 of all samples into out (B, R, L)."""
    wide_vectors()
    R, L = x.shape[1:]
    blocks = (R + ROWS - 1) // ROWS
    for n in range(first, end):
        b, block = n // blocks, n % blocks
        for i in range(block * ROWS, min(R, (block + 1) * ROWS)):
            for j in range(L):
                v = x[b, i, j] * scale[b, j] + offset[b, j]
                out[b, i, j] = v * sigmoid(v)


@compiled
def activate_in_place(x, scale, offset, first, end):
    """Write silu(x·scale + offset) into x, as `activate` does into another array.

    A kernel of its own: of two arrays that are one LLVM cannot use the vectors' loop.
    """
    wide_vectors()
    R, L = x.shape[1:]
    blocks = (R + ROWS - 1) // ROWS
    for n in range(first, end):
        b, block = n // blocks, n % blocks
        for i in range(block * ROWS, min(R, (block + 1) * ROWS)):
            for j in range(L):
                v = x[b, i, j] * scale[b, j] + offset[b, j]
                x[b, i, j] = v * sigmoid(v)
