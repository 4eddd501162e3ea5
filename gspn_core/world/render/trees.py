"""Plant and draw the pines of the foreground."""

import math

import numpy as np
from numba import njit

from gspn_core.world.render.land import ground
from gspn_core.world.render.layout import FOCAL, SNOWY
from gspn_core.world.render.noise import fade, fbm, mix, smoothstep, tint, value_noise

_ROWS = ((2.35, 26), (1.7, 15), (1.2, 10), (0.85, 7), (0.62, 4))


def plant_trees(land, aspect: float) -> np.ndarray:
    """Return (N, 5) float64, far to near: view x, y of the foot, height, depth z, seed.

    Trees stand in world columns whatever the aspect, so that a wider view shows the same trees and more.
    """
    trees = []
    for row, (depth, per_view) in enumerate(_ROWS):
        spacing = 1.0 / per_view
        span = math.ceil(2.0 / spacing)
        for k in range(-span, span + 1):
            rng = np.random.default_rng((land.seed, row, k + span))
            x = (k + rng.uniform(0.1, 0.9)) * spacing
            z = depth * rng.uniform(0.88, 1.12)
            tall = rng.uniform(0.2, 0.34) * (0.82 if row == 0 else 1.0)
            opening = abs(x - 0.18 * math.copysign(1.0, land.body_x)) < 0.27
            if rng.random() > (0.82 if row < 2 else 0.25 if opening else 0.72):
                continue
            # The widest tree and its shadow reach this far into the view.
            if abs(x) > aspect / 2 + 0.9:
                continue
            y = land.horizon + FOCAL * (land.eye - ground(land, x * z / FOCAL, z, 1e-3)) / z
            trees.append((x, y, FOCAL * tall / z, z, float(rng.integers(2**20))))
    trees.sort(key=lambda tree: -tree[3])
    return np.array(trees, np.float64).reshape(-1, 5)


@njit(cache=True, nogil=True)
def _half_width(u_sign, v, tiers, footprint, seed):
    """Half width of a pine, in its own heights, at v (0 top, 1 foot), on one side."""
    if v <= 0.0 or v > 0.94:
        return 0.011 if 0.94 < v <= 1.0 else 0.0
    side = 0.0 if u_sign < 0.0 else 37.5
    level = v**0.85 * tiers + 0.35 * value_noise(v * 3.0, side, seed)
    tier = math.floor(level)
    saw = level - tier
    show = fade(0.5 / tiers, footprint)
    shape = 1.0 + show * (0.55 * (saw - 0.55))
    branch = value_noise(tier * 1.7 + 0.4, side, seed + 1)
    fine = fbm(v, side, 0.03, 6, 0.62, footprint, seed + 2)
    envelope = 0.012 + 0.205 * v**0.92 * (1.0 - 0.25 * smoothstep(0.86, 0.94, v))
    return envelope * shape * (1.0 + show * 0.2 * branch) * (1.0 + 0.42 * fine)


@njit(cache=True, nogil=True)
def _mean_saw(x, breadth):
    """Average the sawtooth x - floor(x) over `breadth` around x."""
    low = x - 0.5 * breadth
    high = x + 0.5 * breadth
    a = low - math.floor(low)
    b = high - math.floor(high)
    return 0.5 * (math.floor(high) - math.floor(low) + b * b - a * a) / breadth


@njit(cache=True, nogil=True)
def _needles(land, u, v, width, tiers, footprint, seed):
    """Albedo and light of the branches at (u, v)."""
    level = v**0.85 * tiers + 0.35 * value_noise(v * 3.0, 0.0 if u < 0.0 else 37.5, seed)
    saw = _mean_saw(level, tiers * footprint)
    show = fade(0.5 / tiers, footprint)
    strands = fbm(u * 1.2, v, 0.028, 7, 0.66, footprint, seed + 3)
    body = 0.5 + show * 0.6 * (saw - 0.5) + 0.8 * strands
    albedo = mix((0.045, 0.105, 0.055), (0.24, 0.36, 0.13), min(1.0, max(0.0, body * 0.75)))
    if land.cover == SNOWY:
        load = smoothstep(0.35, 0.75, 0.52 + show * 0.5 * (0.55 - saw) + 0.5 * strands)
        albedo = mix(albedo, (0.90, 0.94, 1.0), 0.75 * load)
    side = u / max(width, 1e-6)
    diffuse = min(1.0, max(0.0, 0.38 + 0.5 * side * land.light[0] + 0.3 * show * (0.5 - saw)))
    return tint(
        albedo,
        (
            land.ambient[0] + 0.9 * land.sun[0] * diffuse,
            land.ambient[1] + 0.9 * land.sun[1] * diffuse,
            land.ambient[2] + 0.9 * land.sun[2] * diffuse,
        ),
    )


@njit(cache=True, nogil=True)
def _shadow(land, image, x0, foot, tall, z, left, top, pixel):
    """Darken the ground at the foot of a tree."""
    H, W, _ = image.shape
    reach = 0.42 * tall
    flat = 0.11 * tall
    away = x0 - 0.22 * tall * land.light[0]
    i0 = max(0, int((foot - 2.0 * flat - top) / pixel))
    i1 = min(H, int((foot + 2.0 * flat - top) / pixel) + 1)
    j0 = max(0, int((away - 2.0 * reach - left) / pixel))
    j1 = min(W, int((away + 2.0 * reach - left) / pixel) + 1)
    for i in range(i0, i1):
        v = (top + (i + 0.5) * pixel - foot) / flat
        for j in range(j0, j1):
            u = (left + (j + 0.5) * pixel - away) / reach
            dark = 1.0 - 0.26 * min(1.0, 0.9 / z) * math.exp(-1.6 * (u * u + v * v)) * smoothstep(
                4.0, 2.0, u * u + v * v
            )
            for q in range(3):
                image[i, j, q] *= dark


@njit(cache=True, nogil=True)
def draw_trees(land, trees, image, left, top, pixel):
    """Draw `trees` (N, 5), far to near, over `image` (H, W, 3)."""
    H, W, _ = image.shape
    for k in range(trees.shape[0]):
        x0, foot, tall, z, code = trees[k]
        seed = int(code)
        tiers = 8.0 + 4.0 * value_noise(code * 0.37, 0.5, 7)
        footprint = pixel / tall
        haze = (
            0.75
            * land.haze_far
            * (1.0 - math.exp(-max(0.0, z - 0.4 * land.haze_from) * 2.4 * land.haze_rate))
        )
        i0 = max(0, int(math.floor((foot - tall - top) / pixel)))
        i1 = min(H, int(math.ceil((foot - top) / pixel)) + 1)
        j0 = max(0, int(math.floor((x0 - 0.36 * tall - left) / pixel)))
        j1 = min(W, int(math.ceil((x0 + 0.36 * tall - left) / pixel)) + 1)
        _shadow(land, image, x0, foot, tall, z, left, top, pixel)
        for i in range(i0, i1):
            v = (top + (i + 0.5) * pixel - foot) / tall + 1.0
            for side in range(2):
                sign = 2.0 * side - 1.0
                for j in range(j0, j1):
                    u = (left + (j + 0.5) * pixel - x0) / tall
                    if u * sign < 0.0:
                        continue
                    away = abs(u)
                    if away > 0.03 + 0.34 * v + footprint:
                        continue
                    # Branches droop: what is farther out hangs lower.
                    hang = v
                    if v < 0.94:
                        hang += 0.05 * fbm(1.6 * u, 0.5 * v, 0.02, 6, 0.7, footprint, seed + 4) - 0.42 * away
                    wa = _half_width(sign, hang - 0.33 * footprint, tiers, footprint, seed)
                    wb = _half_width(sign, hang, tiers, footprint, seed)
                    wc = _half_width(sign, hang + 0.33 * footprint, tiers, footprint, seed)
                    cover = 0.0
                    for w in (wa, wb, wc):
                        if w > 0.0:
                            high = min(away + 0.5 * footprint, w)
                            low = max(away - 0.5 * footprint, -w)
                            cover += max(0.0, high - low) / footprint
                    cover = min(1.0, cover / 3.0)
                    if cover <= 0.0:
                        continue
                    c = _needles(land, u, hang, max(wa, wb, wc), tiers, footprint, seed)
                    c = mix(c, land.haze, haze)
                    for q in range(3):
                        image[i, j, q] += cover * (c[q] - image[i, j, q])
