"""Draw the land: a height field seen in perspective, marched column by column, shaded at every pixel."""

import math

import numpy as np
from numba import njit

from gspn_core.world._grass import grass_color
from gspn_core.world._layout import DEPTH, DESERT, DUNES, FOCAL, GREEN, HILLS, LAKE, PINES, RED, ROCKY, SANDY, SNOWY
from gspn_core.world._noise import fade, fbm, mix, ridged, screen, smoothstep, tint, value_noise

_STEP = 1.013
_NEAR = 0.09


@njit(cache=True, nogil=True)
def _dunes(land, x, z, foot):
    """Dunes: a gentle windward side, a sharp crest, a steep slip face; ripples where a pixel can show them."""
    wind_x = x + 0.35 * fbm(x, z, 1.3, 2, 0.5, 0.0001, land.seed + 5)
    height = 0.0
    size = 1.4
    amplitude = 0.25 * land.relief
    for k in range(3):
        angle = 0.55 + 0.5 * k
        across = wind_x * math.cos(angle) + z * math.sin(angle)
        across += 0.35 * size * value_noise(x / size, z / size, land.seed + 20 + k)
        phase = across / size
        phase -= math.floor(phase)
        rise = phase / 0.72 if phase < 0.72 else (1.0 - phase) / 0.28
        crest = rise * rise * (3.0 - 2.0 * rise) * 0.6 + rise * 0.4
        strength = 0.5 + 0.5 * value_noise(x / (2.1 * size), z / (2.1 * size), land.seed + 30 + k)
        height += amplitude * crest * strength
        size *= 0.47
        amplitude *= 0.3
    return height


@njit(cache=True, nogil=True)
def ground(land, x, z, foot):
    """Return the height of the near ground: meadow, sand or shore."""
    if land.foreground == LAKE:
        return -0.02
    low = 0.022 * fbm(x, z, 0.7, 3, 0.45, foot, land.seed + 2)
    return low * min(1.0, z / 0.5)


@njit(cache=True, nogil=True)
def elevation(land, x, z, foot):
    """Return the height of the land at (x, z), without the octaves that are finer than `foot`."""
    if land.terrain == DUNES:
        h = _dunes(land, x, z, foot)
        if land.foreground == LAKE:
            shore = land.shore * (0.9 + 0.18 * value_noise(x * 0.9, 0.5, land.seed + 3))
            rise = (z - shore) / 3.0
            return min(0.25 * (z - shore), 0.08 + h * 2.6 * smoothstep(0.0, 1.0, rise))
        far = smoothstep(1.0, 9.0, z)
        return -0.05 + h * (0.5 + 0.35 * smoothstep(0.7, 3.0, z) + 2.2 * far)
    low = ground(land, x, z, foot)
    if z < 0.9 * land.shore:
        return low
    bend = 0.22 * fbm(x, 0.37, 0.9, 6, 0.5, foot, land.seed + 3)
    start = land.shore * (1.0 + 0.3 * bend)
    t = (z - start) / (DEPTH - 4.0 - start)
    if t <= 0.0:
        return low
    if land.terrain == HILLS:
        n = 0.5 + 0.62 * fbm(x, z, 2.1, 9, 0.36, foot, land.seed + 9)
        return low + 0.25 * min(0.3, z - start) + land.relief * 1.5 * max(0.0, n) * smoothstep(0.0, 0.8, t)
    r = ridged(x, z, 3.6, 12, 0.42, foot, land.seed + 9)
    near = 0.5 + 0.6 * fbm(x, z, 1.6, 10, 0.47, foot, land.seed + 40)
    h = 2.9 * r * (0.45 + 0.55 * r) * smoothstep(0.06, 0.72, t) + 0.75 * near * smoothstep(0.0, 0.3, t)
    h *= land.relief
    if land.cover == RED:
        steps = 3.6
        level = h * steps + 0.35 * value_noise(x * 0.7, z * 0.7, land.seed + 50)
        floor = math.floor(level)
        terrace = (floor + smoothstep(0.25, 0.85, level - floor)) / steps
        h += 0.62 * (terrace - level / steps)
    return low + h


@njit(cache=True, nogil=True)
def _strata(land, h, x, z, foot):
    """Bands of rock by height, bent a little; in [-1, 1]."""
    bent = h + 0.10 * fbm(x, z, 0.9, 5, 0.5, foot, land.seed + 61)
    return fbm(bent, 0.5, 0.12, 6, 0.6, foot * 0.8, land.seed + 62)


@njit(cache=True, nogil=True)
def _far_albedo(land, x, z, h, up, foot):
    """Colour of the terrain's cover at height h where the normal's vertical part is `up`."""
    grain = fbm(x, z, 0.35, 10, 0.6, foot, land.seed + 60)
    if land.cover == SANDY:
        fine = fbm(x, z, 0.012, 6, 0.7, foot * math.sqrt(1.0 + z / land.eye) * 0.5, land.seed + 66)
        return mix(land.sand, (0.90, 0.74, 0.52), 0.35 + 0.4 * grain + 0.5 * fine)
    rock = mix(land.rock_dark, land.rock, 0.55 + 0.6 * grain)
    bands = _strata(land, h, x, z, foot)
    if land.cover == RED:
        pale = mix(rock, (0.93, 0.66, 0.44), smoothstep(0.05, 0.5, bands) * 0.75)
        return mix(pale, (0.45, 0.16, 0.11), smoothstep(0.1, 0.5, -bands) * 0.55)
    rock = mix(rock, (0.62, 0.58, 0.53), smoothstep(0.0, 0.5, bands) * 0.35)
    top = 2.4 if land.terrain != HILLS else 1.2
    level = h / top
    grow = mix(land.growth, land.growth_light, 0.45 + 0.7 * grain)
    if land.cover == GREEN:
        steep = smoothstep(0.62, 0.40, up) * (0.75 if land.terrain != HILLS else 0.25)
        high = 0.45 * smoothstep(0.55, 1.0, level + 0.2 * grain) if land.terrain != HILLS else 0.0
        return mix(grow, rock, max(steep, high))
    if land.cover == ROCKY:
        if land.foreground == DESERT:
            return rock
        foot_growth = (1.0 - smoothstep(0.06, 0.30, level + 0.25 * grain)) * smoothstep(0.4, 0.7, up)
        return mix(rock, mix(grow, land.rock_dark, 0.35), 0.7 * foot_growth)
    base = mix(mix(land.growth, land.rock_dark, 0.45), rock, smoothstep(0.1, 0.4, level + 0.2 * grain))
    line = land.snowline if land.terrain != HILLS else -0.05
    snow = smoothstep(-0.12, 0.10, level + 0.30 * grain - line) * smoothstep(0.30, 0.50, up + 0.12 * grain)
    return mix(base, (0.95, 0.97, 1.0), snow)


@njit(cache=True, nogil=True)
def _near_albedo(land, xs, y, z, pixel):
    """Colour of the near ground at (x, z): grass with flowers, sand, or snow under pines."""
    x = xs * z / FOCAL
    wide = z * pixel / FOCAL
    deep = z * wide / land.eye
    foot = math.sqrt(wide * deep)
    patches = fbm(x, z, 0.55, 5, 0.5, foot, land.seed + 70)
    if land.foreground == DESERT:
        grain = fbm(x * 1.0, z, 0.05, 8, 0.6, foot, land.seed + 71)
        sand = land.sand if land.cover != RED else (0.74, 0.46, 0.31)
        return mix(sand, (sand[0] * 0.72, sand[1] * 0.68, sand[2] * 0.68), 0.4 + 0.5 * patches + 0.35 * grain)
    if land.foreground == PINES and land.cover == SNOWY:
        shade = 0.80 + 0.16 * patches
        return (0.90 * shade, 0.94 * shade, shade)
    return grass_color(land, xs, y, pixel)


@njit(cache=True, nogil=True)
def _shade(land, xs, y, z, pixel):
    """Return the lit, hazy colour of the land seen in view column xs at depth z."""
    x = xs * z / FOCAL
    foot = z * pixel / FOCAL
    h = elevation(land, x, z, foot)
    e = max(0.8 * foot, 1e-4)
    hx = (elevation(land, x + e, z, foot) - h) / e
    hz = (elevation(land, x, z + e, foot) - h) / e
    if land.cover == SANDY or land.foreground == DESERT:
        deep = foot * math.sqrt(z / land.eye)
        wave = 0.22 * fade(0.016, deep) * value_noise(x * 7.0 + 0.8 * z, (z + 0.3 * x) * 62.0, land.seed + 80)
        wave += 0.16 * fade(0.05, deep) * value_noise(x * 3.0, (z - 0.2 * x) * 20.0, land.seed + 81)
        hz += wave * smoothstep(4.0, 0.3, z)
    norm = 1.0 / math.sqrt(1.0 + hx * hx + hz * hz)
    diffuse = (-hx * land.light[0] + land.light[1] - hz * land.light[2]) * norm
    diffuse = max(0.0, diffuse)
    near = 0.0
    if land.terrain != DUNES and land.foreground != LAKE:
        near = 1.0 - smoothstep(0.92, 1.15, z / land.shore)
    albedo = (0.0, 0.0, 0.0)
    if near < 1.0:
        albedo = _far_albedo(land, x, z, h, norm, foot)
    if near > 0.0:
        albedo = mix(albedo, _near_albedo(land, xs, y, z, pixel), near)
    ambient = 0.75 + 0.25 * norm
    light = (
        land.ambient[0] * ambient + land.sun[0] * diffuse,
        land.ambient[1] * ambient + land.sun[1] * diffuse,
        land.ambient[2] * ambient + land.sun[2] * diffuse,
    )
    color = tint(albedo, light)
    haze = land.haze_far * (1.0 - math.exp(-max(0.0, z - 1.2) * 0.115)) * math.exp(-0.28 * max(0.0, h))
    aside = xs - land.body_x
    toward = land.glow_strength * math.exp(-aside * aside / 0.09)
    mist = screen(land.haze, land.glow, 0.5 * toward)
    return mix(color, mist, min(1.0, haze * (1.0 + 0.35 * toward)))


@njit(cache=True, nogil=True)
def first_depth(land):
    """Return the depth at which the march through the land begins."""
    return land.shore * 0.7 if land.foreground == LAKE else _NEAR


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
def _smooth_skyline(color, cover, skyline):
    """Spread the skyline's coverage over its slope: `skyline` (W + 2,) in rows, one column more on each side."""
    H, W = cover.shape
    for j in range(W):
        here = skyline[j + 1]
        one = 0.5 * (skyline[j] + here)
        two = 0.5 * (skyline[j + 2] + here)
        first = max(0, int(math.floor(min(here, one, two))))
        last = min(H - 1, int(math.ceil(max(here, one, two))))
        # The land's colour on the skyline, wherever the column's own coverage is enough to tell it.
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
    """Draw the land into `color` (H, W, 3), premultiplied, and its coverage into `cover` (H, W), both zero before.

    Pixel (i, j) spans the view square of side `pixel` whose corner is (left + j·pixel, top + i·pixel).
    """
    H, W = cover.shape
    start = first_depth(land)
    skyline = np.empty(W + 2)
    for j in range(W):
        xs = left + (j + 0.5) * pixel
        z = start
        front = 1e9
        shaded = -1
        c = (0.0, 0.0, 0.0)
        before = (land.horizon + FOCAL * (land.eye - elevation(land, xs * z / FOCAL, z, z * pixel / FOCAL)) / z - top)
        before /= pixel
        if land.foreground == LAKE:
            front = min(front, (land.horizon + FOCAL * land.eye / z - top) / pixel)
        while z < DEPTH:
            last = z
            z *= _STEP
            h = elevation(land, xs * z / FOCAL, z, z * pixel / FOCAL)
            if land.foreground == LAKE and h < 0.0:
                here = (land.horizon + FOCAL * (land.eye - h) / z - top) / pixel
                front = min(front, (land.horizon + FOCAL * land.eye / z - top) / pixel)
                before = here
                continue
            here = (land.horizon + FOCAL * (land.eye - h) / z - top) / pixel
            if here < front:
                bottom = front
                i = min(H - 1, int(math.ceil(bottom)) - 1)
                while i >= 0 and i + 1.0 > here:
                    high = max(float(i), here)
                    low = min(i + 1.0, bottom)
                    part = low - high
                    if part > 0.0:
                        # Many steps of one far slope fall into one pixel: the first one's colour stands for all.
                        if i != shaded or before > front + 1e-6:
                            t = (before - 0.5 * (high + low)) / max(1e-9, before - here)
                            at = last + (z - last) * min(1.0, max(0.0, t))
                            c = _shade(land, xs, top + (i + 0.5) * pixel, at, pixel)
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
