"""Draw grass and flowers: rows of upright blades, each row hiding the foot of the row behind it."""

import math

from numba import njit

from gspn_core.world.render.layout import FOCAL, PINES
from gspn_core.world.render.noise import fade, fbm, hash_unit, mix, smoothstep

_RATIO = 1.085
_TALL = 0.34


@njit(cache=True, nogil=True)
def _flower(land, row, xs, y, base, size, drift, pixel):
    """Return the coverage of one row's flowers at view point (xs, y), and of their hearts."""
    cell = 0.20 * size
    k = int(math.floor(xs / cell))
    best = 0.0
    heart = 0.0
    for i in range(k - 1, k + 2):
        chance = hash_unit(i, row, land.seed + 101)
        if chance > 0.6 * drift:
            continue
        fx = (i + 0.2 + 0.6 * hash_unit(i, row, land.seed + 102)) * cell
        fy = base - size * (0.17 + 0.17 * hash_unit(i, row, land.seed + 103))
        radius = size * (0.026 + 0.022 * hash_unit(i, row, land.seed + 104))
        dx = xs - fx
        dy = (y - fy) * 1.35
        # Petals: the rim waves five times around.
        wave = 1.0 + 0.16 * fade(0.6 * radius, pixel) * math.cos(5.0 * math.atan2(dy, dx))
        cover = min(1.0, max(0.0, (radius * wave - math.sqrt(dx * dx + dy * dy)) / pixel + 0.5))
        cover *= min(1.0, 2.0 * radius / pixel) * min(1.0, 14.0 * (0.6 * drift - chance))
        if cover > best:
            best = cover
            heart = min(1.0, max(0.0, (0.34 * radius - math.sqrt(dx * dx + dy * dy)) / pixel + 0.5))
            heart *= min(1.0, 0.68 * radius / pixel)
    return best, heart


@njit(cache=True, nogil=True)
def grass_color(land, xs, y, pixel):
    """Return the albedo of the grass seen at view point (xs, y) below the horizon."""
    depth = max(y - land.horizon, 0.5 * pixel)
    z = FOCAL * land.eye / depth
    wide = z * pixel / FOCAL
    far = math.sqrt(wide * z * wide / land.eye)
    patches = fbm(xs * z / FOCAL, z, 0.55, 4, 0.5, far, land.seed + 70)
    drift = smoothstep(-0.25, 0.3, fbm(xs * z / FOCAL, z, 0.38, 3, 0.5, far, land.seed + 73))
    if land.foreground == PINES:
        drift = 0.0
    mean = 0.46 + 0.5 * patches
    tone = mean - 0.08
    bloom = 0.17 * drift
    hearts = 0.0
    # Rows stand at depths horizon + ratio**n; the nearest row whose blades reach up to y is the one seen.
    show = fade(0.9 * (_RATIO - 1.0) * depth, pixel)
    if show > 0.0:
        nearest = int(math.floor(math.log(depth / (0.94 - _TALL)) / math.log(_RATIO)))
        tone = 0.0
        seen = 0.0
        petals = 0.0
        for k in range(8):
            row = nearest - k
            size = _RATIO**row
            base = land.horizon + size
            if base < y - 0.5 * pixel:
                break
            along = xs + 0.13 * size * (hash_unit(row, 3, land.seed) - 0.5)
            if drift > 0.0:
                bud, heart = _flower(land, row, xs, y, base, size, drift, pixel)
                bud *= max(0.0, 1.0 - seen - petals)
                petals += bud
                hearts += bud * heart
            n = fbm(along, row * 7.3, 0.055 * size, 8, 0.66, pixel, land.seed + 76)
            tip = base - size * _TALL * min(1.0, max(0.0, 0.45 + 0.75 * n))
            cover = min(1.0, max(0.0, (y - tip) / (3.0 * pixel) + 0.5))
            part = (1.0 - seen - petals) * cover
            if part > 0.0:
                up = (base - y) / (size * _TALL)
                strand = fbm(along + 0.3 * (base - y), row * 5.1, 0.02 * size, 7, 0.7, pixel, land.seed + 77)
                tone += part * (mean - 0.34 + 0.62 * up + 0.36 * strand)
                seen += part
            if seen + petals > 0.995:
                break
        rest = 1.0 - seen - petals
        tone = (tone + rest * mean) / max(1e-3, 1.0 - petals)
        tone = mean - 0.08 + show * (tone - mean + 0.08)
        bloom = (1.0 - show) * bloom + show * petals
    grass = mix(land.grass, land.grass_light, min(1.0, max(0.0, tone)))
    grass = mix(grass, land.flower, bloom)
    return mix(
        grass, (0.80, 0.55, 0.12) if land.flower[2] > 0.3 else (0.35, 0.16, 0.06), min(1.0, show * hearts)
    )
