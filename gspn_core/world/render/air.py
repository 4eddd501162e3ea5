"""Draw what the air holds, rain and snowflakes, and grade the picture's colours."""

import math

from numba import njit

from gspn_core.world.render.layout import COOL, GOLDEN, PASTEL, RAIN, SNOW, VIVID
from gspn_core.world.render.noise import hash_unit

_SLANT = 0.16


@njit(cache=True, nogil=True)
def _rain(x, y, pixel, seed):
    """Return the coverage of the streaks of rain at view point (x, y)."""
    seen = 0.0
    for k in range(3):
        cell = 0.026 - 0.006 * k
        long = 0.15 - 0.035 * k
        thick = 0.0030 - 0.0006 * k
        across = (x + _SLANT * y) / cell
        column = int(math.floor(across))
        along = y / long + 7.0 * hash_unit(column, k, seed)
        row = int(math.floor(along))
        if hash_unit(column, row, seed + 10 + k) > 0.5:
            continue
        middle = 0.25 + 0.5 * hash_unit(column, row, seed + 20 + k)
        d = abs(across - column - middle) * cell
        breadth = max(thick, pixel)
        cover = min(1.0, thick / pixel) * max(0.0, 1.0 - d / breadth)
        t = along - row
        seen += cover * 4.0 * t * (1.0 - t) * (0.5 - 0.09 * k)
    return min(0.6, seen)


@njit(cache=True, nogil=True)
def _flakes(x, y, pixel, seed):
    """Return the coverage of the snowflakes at view point (x, y): near ones large and few."""
    seen = 0.0
    for k in range(4):
        cell = 0.11 / (1.45**k)
        size = 0.0085 / (1.4**k)
        ix = int(math.floor(x / cell))
        iy = int(math.floor(y / cell))
        for j in range(-1, 2):
            for i in range(-1, 2):
                if hash_unit(ix + i, iy + j, seed + k) > 0.62:
                    continue
                fx = (ix + i + 0.15 + 0.7 * hash_unit(ix + i, iy + j, seed + 10 + k)) * cell
                fy = (iy + j + 0.15 + 0.7 * hash_unit(ix + i, iy + j, seed + 20 + k)) * cell
                radius = size * (0.55 + 0.6 * hash_unit(ix + i, iy + j, seed + 30 + k))
                d = math.sqrt((x - fx) ** 2 + (y - fy) ** 2)
                soft = max(0.5 * radius, pixel)
                cover = min(1.0, max(0.0, (radius - d) / soft + 0.5))
                seen = max(seen, cover * min(1.0, 1.6 * radius / pixel) * (0.95 - 0.1 * k))
    return seen


@njit(cache=True, nogil=True)
def _grade(color, palette):
    """Return the colour as the palette has it."""
    r, g, b = color
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    if palette == GOLDEN:
        return (
            min(1.0, 0.18 * y + 0.95 * r),
            min(1.0, 0.14 * y + 0.78 * g),
            min(1.0, 0.05 * y + 0.55 * b),
        )
    if palette == COOL:
        return (
            min(1.0, 0.10 * y + 0.60 * r),
            min(1.0, 0.12 * y + 0.80 * g),
            min(1.0, 0.06 + 0.20 * y + 0.86 * b),
        )
    if palette == PASTEL:
        return (
            0.28 + 0.68 * (0.28 * y + 0.72 * r),
            0.26 + 0.68 * (0.28 * y + 0.72 * g),
            0.29 + 0.68 * (0.28 * y + 0.72 * b),
        )
    if palette == VIVID:
        # More colour and more contrast about the middle.
        s = 1.65
        r, g, b = y + s * (r - y), y + s * (g - y), y + s * (b - y)
        return (
            min(1.0, max(0.0, 0.5 + 1.12 * (r - 0.5))),
            min(1.0, max(0.0, 0.5 + 1.12 * (g - 0.5))),
            min(1.0, max(0.0, 0.5 + 1.12 * (b - 0.5))),
        )
    return color


@njit(cache=True, nogil=True)
def draw_air(air, image, left, top, pixel):
    """Draw rain or snowflakes over `image` (H, W, 3) and grade it."""
    H, W, _ = image.shape
    for i in range(H):
        y = top + (i + 0.5) * pixel
        for j in range(W):
            x = left + (j + 0.5) * pixel
            seen = 0.0
            if air.weather == RAIN:
                seen = _rain(x, y, pixel, air.seed)
            elif air.weather == SNOW:
                seen = _flakes(x, y, pixel, air.seed)
            r = image[i, j, 0] + seen * (air.drop[0] - image[i, j, 0])
            g = image[i, j, 1] + seen * (air.drop[1] - image[i, j, 1])
            b = image[i, j, 2] + seen * (air.drop[2] - image[i, j, 2])
            image[i, j, 0], image[i, j, 1], image[i, j, 2] = _grade(
                (min(1.0, max(0.0, r)), min(1.0, max(0.0, g)), min(1.0, max(0.0, b))), air.palette
            )
