"""Draw the land: march its height field column by column, near to far, and shade what is seen."""

import math

import numpy as np
from numba import njit

from gspn_core.world.render.land import elevation, shade_land
from gspn_core.world.render.layout import BEACH, DEPTH, FOCAL, LAKE

_STEP = 1.013
_NEAR = 0.09


@njit(cache=True, nogil=True)
def first_depth(land):
    """Return the depth at which the march through the land begins."""
    return land.shore * 0.7 if land.foreground == LAKE or land.foreground == BEACH else _NEAR


@njit(cache=True, nogil=True)
def crest(land, xs, pixel, start):
    """Return the y of the highest land in view column xs."""
    best = 2.0
    z = start
    while z < DEPTH:
        z *= _STEP
        h = elevation(land, xs * z / FOCAL, z, z * pixel / FOCAL)
        best = min(best, land.horizon + FOCAL * (land.eye - max(h, -0.02)) / z)
    return best


@njit(cache=True, nogil=True)
def bank(land, xs, pixel):
    """Return depth and view y of the first dry land in view column xs, of the far end where there is none."""
    z = first_depth(land)
    while z < DEPTH:
        z *= _STEP
        h = elevation(land, xs * z / FOCAL, z, z * pixel / FOCAL)
        if h > 0.012:
            return z, land.horizon + FOCAL * (land.eye - h) / z
    return DEPTH, land.horizon


@njit(cache=True, nogil=True)
def _smooth_skyline(color, cover, skyline):
    """Spread the skyline's coverage over its slope; `skyline` (W + 2,) has a column more on each side."""
    H, W = cover.shape
    for j in range(W):
        here = skyline[j + 1]
        one = 0.5 * (skyline[j] + here)
        two = 0.5 * (skyline[j + 2] + here)
        first = max(0, int(math.floor(min(here, one, two))))
        last = min(H - 1, int(math.ceil(max(here, one, two))))
        # The land's colour on the skyline, wherever the column's own coverage is enough to know it.
        solid = min(H - 1, max(0, int(math.floor(here))))
        if cover[solid, j] < 0.25 and solid + 1 < H:
            solid += 1
        known = cover[solid, j]
        if known < 0.05:
            continue
        tone = (color[solid, j, 0] / known, color[solid, j, 1] / known, color[solid, j, 2] / known)
        for i in range(first, last + 1):
            part = 0.0
            for k in range(4):
                t = (k + 0.5) / 4.0
                edge = one + (here - one) * 2.0 * t if t < 0.5 else here + (two - here) * (2.0 * t - 1.0)
                part += 0.25 * min(1.0, max(0.0, i + 1.0 - edge))
            old = cover[i, j]
            if part < old:
                for q in range(3):
                    color[i, j, q] *= part / old
                cover[i, j] = part
            elif part > old:
                for q in range(3):
                    color[i, j, q] += (part - old) * tone[q]
                cover[i, j] = part


@njit(cache=True, nogil=True)
def draw_land(land, color, cover, left, top, pixel):
    """Draw the land, premultiplied, into `color` (H, W, 3), and its coverage into `cover` (H, W), both zeros.

    Pixel (i, j) spans the view square of side `pixel` whose corner is (left + j·pixel, top + i·pixel).
    """
    H, W = cover.shape
    start = first_depth(land)
    water = land.foreground == LAKE or land.foreground == BEACH
    skyline = np.empty(W + 2)
    for j in range(W):
        xs = left + (j + 0.5) * pixel
        z = start
        front = 1e9
        shaded = -1
        c = (0.0, 0.0, 0.0)
        h = elevation(land, xs * z / FOCAL, z, z * pixel / FOCAL)
        before = (land.horizon + FOCAL * (land.eye - h) / z - top) / pixel
        if water:
            front = min(front, (land.horizon + FOCAL * land.eye / z - top) / pixel)
        while z < DEPTH:
            last = z
            z *= _STEP
            h = elevation(land, xs * z / FOCAL, z, z * pixel / FOCAL)
            here = (land.horizon + FOCAL * (land.eye - h) / z - top) / pixel
            if water and h < 0.0:
                front = min(front, (land.horizon + FOCAL * land.eye / z - top) / pixel)
            elif here < front:
                bottom = front
                i = min(H - 1, int(math.ceil(bottom)) - 1)
                while i >= 0 and i + 1.0 > here:
                    high = max(float(i), here)
                    low = min(i + 1.0, bottom)
                    part = low - high
                    if part > 0.0:
                        # Many steps of one far slope fall into a pixel: the first one's colour does for all.
                        if i != shaded or before > front + 1e-6:
                            t = (before - 0.5 * (high + low)) / max(1e-9, before - here)
                            at = last + (z - last) * min(1.0, max(0.0, t))
                            c = shade_land(land, xs, top + (i + 0.5) * pixel, at, pixel)
                            shaded = i
                        color[i, j, 0] += part * c[0]
                        color[i, j, 1] += part * c[1]
                        color[i, j, 2] += part * c[2]
                        cover[i, j] += part
                    i -= 1
                front = here
            before = here
        skyline[j + 1] = front
    skyline[0] = (crest(land, left - 0.5 * pixel, pixel, start) - top) / pixel
    skyline[W + 1] = (crest(land, left + (W + 0.5) * pixel, pixel, start) - top) / pixel
    _smooth_skyline(color, cover, skyline)
