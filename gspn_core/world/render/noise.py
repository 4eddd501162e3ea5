"""Integer-hashed value noise whose octaves fade out at the pixel size; colour arithmetic for the kernels.

numba keeps a compiled kernel as long as its own file is unchanged, whatever became of the kernels that it
calls: after an edit in this package, delete the *.nbi and *.nbc files in its __pycache__.
"""

import math

from numba import njit

_MASK = 0xFFFFFFFF


@njit(cache=True, nogil=True, inline="always")
def hash_unit(ix, iy, seed):
    """Hash two integers and a seed into [0, 1)."""
    n = (ix * 374761393 + iy * 668265263 + seed * 1442695041) & _MASK
    n = ((n ^ (n >> 15)) * 2246822519) & _MASK
    n = ((n ^ (n >> 13)) * 3266489917) & _MASK
    n = n ^ (n >> 16)
    return n * (1.0 / 4294967296.0)


@njit(cache=True, nogil=True)
def value_noise(x, y, seed):
    """Interpolate hashed lattice values at (x, y) with a quintic; in [-1, 1]."""
    fx = math.floor(x)
    fy = math.floor(y)
    ix = int(fx)
    iy = int(fy)
    u = x - fx
    v = y - fy
    u = u * u * u * (u * (u * 6.0 - 15.0) + 10.0)
    v = v * v * v * (v * (v * 6.0 - 15.0) + 10.0)
    a = hash_unit(ix, iy, seed)
    b = hash_unit(ix + 1, iy, seed)
    c = hash_unit(ix, iy + 1, seed)
    d = hash_unit(ix + 1, iy + 1, seed)
    return 2.0 * (a + (b - a) * u + (c - a) * v + (a - b - c + d) * u * v) - 1.0


@njit(cache=True, nogil=True, inline="always")
def fade(cell, footprint):
    """Weigh an octave of lattice spacing `cell`, wavelength 2·cell: 0 at 2 pixels, 1 at 4 pixels."""
    return min(1.0, max(0.0, cell / footprint - 1.0))


@njit(cache=True, nogil=True)
def fbm(x, y, cell, octaves, gain, footprint, seed):
    """Sum octaves of value noise from lattice spacing `cell` down to the footprint; about [-1, 1]."""
    total = 0.0
    amplitude = 1.0 - gain
    scale = 1.0 / cell
    for k in range(octaves):
        weight = fade(1.0 / scale, footprint)
        if weight <= 0.0:
            break
        total += weight * amplitude * value_noise(x * scale, y * scale, seed + k)
        x, y = 0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y
        amplitude *= gain
        scale *= 2.03
    return total


@njit(cache=True, nogil=True)
def ridged(x, y, cell, octaves, gain, footprint, seed):
    """Sum octaves of (1 - |noise|)², each weighed by the last: sharp crests, soft valleys; about [0, 1]."""
    total = 0.0
    amplitude = 1.0 - gain
    scale = 1.0 / cell
    carry = 1.0
    for k in range(octaves):
        weight = fade(1.0 / scale, footprint)
        if weight <= 0.0:
            total += 0.4 * amplitude * carry * (1.0 - gain ** (octaves - k)) / (1.0 - gain)
            break
        n = 1.0 - math.fabs(value_noise(x * scale, y * scale, seed + k))
        n *= n
        total += amplitude * carry * (weight * n + (1.0 - weight) * 0.4)
        carry = min(1.0, 0.35 + 0.9 * n)
        x, y = 0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y
        amplitude *= gain
        scale *= 2.07
    return total


@njit(cache=True, nogil=True, inline="always")
def smoothstep(low, high, x):
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, nogil=True, inline="always")
def mix(a, b, t):
    """Blend two colours: a at t = 0, b at t = 1."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


@njit(cache=True, nogil=True, inline="always")
def scale_color(a, s):
    """Multiply a colour by a number."""
    return (a[0] * s, a[1] * s, a[2] * s)


@njit(cache=True, nogil=True, inline="always")
def tint(a, b):
    """Multiply two colours channel by channel."""
    return (a[0] * b[0], a[1] * b[1], a[2] * b[2])


@njit(cache=True, nogil=True, inline="always")
def screen(a, b, s):
    """Add light of colour b and strength s without clipping: 1 - (1 - a)(1 - s·b)."""
    return (
        1.0 - (1.0 - a[0]) * (1.0 - min(1.0, s * b[0])),
        1.0 - (1.0 - a[1]) * (1.0 - min(1.0, s * b[1])),
        1.0 - (1.0 - a[2]) * (1.0 - min(1.0, s * b[2])),
    )
