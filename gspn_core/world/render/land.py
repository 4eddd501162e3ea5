"""Know the land: how high it is, what covers it, what colour it has under the scene's light."""

import math

from numba import njit

from gspn_core.world.render.grass import grass_color
from gspn_core.world.render.layout import (
    AUTUMN,
    BEACH,
    CLIFFS,
    DEPTH,
    DESERT,
    DUNES,
    FOCAL,
    GREEN,
    HILLS,
    ISLANDS,
    LAKE,
    MOUNTAINS,
    PINES,
    RED,
    RIVER,
    ROCKY,
    SANDY,
    SNOWY,
)
from gspn_core.world.render.noise import (
    fade,
    fbm,
    hash_unit,
    mix,
    ridged,
    screen,
    smoothstep,
    tint,
    value_noise,
)


@njit(cache=True, nogil=True)
def _dunes(land, x, z):
    """Return the height of the dunes: a gentle windward side, a sharp crest, a steep slip face."""
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
    if land.foreground == LAKE or land.foreground == BEACH:
        return -0.02
    if land.foreground == RIVER:
        return 0.0
    low = 0.022 * land.swell * fbm(x, z, 0.7, 3, 0.45, foot, land.seed + 2)
    return low * min(1.0, z / 0.5)


@njit(cache=True, nogil=True)
def _islands(land, x, z, foot):
    """Return the height of the islands, below the water between them."""
    best = -0.05
    for k in range(9):
        far = land.shore * (1.0 + 1.5 * hash_unit(k, 1, land.seed + 12) ** 1.5)
        middle = ((k - 4) * 0.27 + 0.2 * hash_unit(k, 2, land.seed + 12) - 0.1) * far
        size = (0.3 + 0.45 * hash_unit(k, 3, land.seed + 12)) * (0.55 + 0.15 * far)
        dx = (x - middle) / size
        dz = (z - far - size) / (0.9 * size)
        d = dx * dx + dz * dz
        if d > 1.7:
            continue
        d = math.sqrt(d) * (1.0 + 0.3 * fbm(x, z, 0.4 * size, 4, 0.5, foot, land.seed + 13 + k))
        u = 1.0 - d
        steep = 0.5 + 0.75 * hash_unit(k, 4, land.seed + 12)
        h = min(0.4 * u, 0.01) if u < 0.02 else 0.01
        if u > 0.02:
            rough = 0.66 + 0.5 * fbm(x, z, 0.45 * size, 10, 0.5, foot, land.seed + 9)
            h += land.relief * steep * size * 0.75 * smoothstep(0.0, 0.85, u) * rough
        best = max(best, h)
    return best


@njit(cache=True, nogil=True)
def _cliffs(land, x, z, foot):
    """Return the height of a table of rock that breaks off towards the viewer, higher on one side."""
    fold = 0.30 * fbm(x, 0.2, 0.55, 9, 0.55, foot, land.seed + 17)
    start = land.shore * 1.02 + 0.55 * fold
    t = z - start
    if t <= 0.0:
        return 0.0
    side = land.side * x / z + 0.10 * value_noise(2.0 * x, 0.3 * z, land.seed + 18)
    mass = 0.16 + 0.84 * smoothstep(-0.16, 0.12, side)
    high = 0.95 + 0.28 * fbm(x, z, 0.8, 8, 0.45, foot, land.seed + 9)
    wall = 0.72 * smoothstep(0.0, 0.22, t) + 0.28 * smoothstep(0.18, 1.1, t)
    ledges = 0.05 * fbm(t, x, 0.12, 6, 0.5, foot, land.seed + 19) * smoothstep(0.0, 0.1, t)
    return land.relief * mass * (high * wall + ledges) + 0.02 * min(1.0, 8.0 * t)


@njit(cache=True, nogil=True)
def elevation(land, x, z, foot):
    """Return the height of the land at (x, z), without the octaves that are finer than `foot`."""
    if land.terrain == DUNES:
        h = _dunes(land, x, z)
        if land.foreground == LAKE or land.foreground == BEACH:
            shore = land.shore * (0.9 + 0.18 * value_noise(x * 0.9, 0.5, land.seed + 3))
            rise = (z - shore) / 3.0
            return min(0.25 * (z - shore), 0.08 + h * 2.6 * smoothstep(0.0, 1.0, rise))
        far = smoothstep(1.0, 9.0, z)
        return -0.05 + h * (0.5 + 0.35 * smoothstep(0.7, 3.0, z) + 2.2 * far)
    if land.terrain == ISLANDS:
        return _islands(land, x, z, foot)
    low = ground(land, x, z, foot)
    if z < 0.9 * land.shore:
        return low
    if land.terrain == CLIFFS:
        return low + _cliffs(land, x, z, foot)
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
    hilly = land.terrain == HILLS or land.terrain == ISLANDS
    top = 2.4 if land.terrain != HILLS else 1.2
    if land.terrain == CLIFFS:
        top = 1.3
    if land.terrain == ISLANDS:
        top = 0.7
    level = h / top
    grow = mix(land.growth, land.growth_light, 0.45 + 0.7 * grain)
    if land.cover == GREEN or land.cover == AUTUMN:
        crowns = fbm(x, z, 0.09, 7, 0.6, foot, land.seed + 64)
        patch = smoothstep(-0.2, 0.25, fbm(x, z, 0.5, 4, 0.55, foot, land.seed + 65) + 0.6 * crowns)
        grow = mix(grow, land.growth_other, (0.75 if land.cover == AUTUMN else 0.35) * patch)
        shade = 1.0 + 0.5 * crowns
        grow = (grow[0] * shade, grow[1] * shade, grow[2] * shade)
        steep = smoothstep(0.62, 0.40, up) * (0.25 if hilly else 0.35 if land.cover == AUTUMN else 0.75)
        high = 0.0 if hilly or land.cover == AUTUMN else 0.45 * smoothstep(0.55, 1.0, level + 0.2 * grain)
        return mix(grow, rock, max(steep, high))
    if land.cover == ROCKY:
        if land.foreground == DESERT:
            return rock
        foot_growth = (1.0 - smoothstep(0.06, 0.30, level + 0.25 * grain)) * smoothstep(0.4, 0.7, up)
        return mix(rock, mix(grow, land.rock_dark, 0.35), 0.7 * foot_growth)
    base = mix(mix(land.growth, land.rock_dark, 0.45), rock, smoothstep(0.1, 0.4, level + 0.2 * grain))
    line = land.snowline if land.terrain == MOUNTAINS else -0.05
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
        grain = fbm(x, z, 0.05, 8, 0.6, foot, land.seed + 71)
        sand = land.sand if land.cover != RED else (0.74, 0.46, 0.31)
        return mix(sand, (sand[0] * 0.72, sand[1] * 0.68, sand[2] * 0.68), 0.4 + 0.5 * patches + 0.35 * grain)
    if land.foreground == PINES and land.cover == SNOWY:
        shade = 0.80 + 0.16 * patches
        return (0.90 * shade, 0.94 * shade, shade)
    return grass_color(land, xs, y, pixel)


@njit(cache=True, nogil=True)
def shade_land(land, xs, y, z, pixel):
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
    if land.terrain != DUNES and land.foreground != LAKE and land.foreground != BEACH:
        near = 1.0 - smoothstep(0.92, 1.15, z / land.shore)
    albedo = (0.0, 0.0, 0.0)
    if near < 1.0:
        albedo = _far_albedo(land, x, z, h, norm, foot)
    if near > 0.0:
        albedo = mix(albedo, _near_albedo(land, xs, y, z, pixel), near)
    if land.snowfall > 0.0:
        dusting = smoothstep(0.45, 0.9, norm) * (0.8 + 0.4 * value_noise(7.0 * x, 7.0 * z, land.seed + 68))
        albedo = mix(albedo, (0.93, 0.95, 0.99), min(1.0, land.snowfall * dusting))
    ambient = 0.75 + 0.25 * norm
    light = (
        land.ambient[0] * ambient + land.sun[0] * diffuse,
        land.ambient[1] * ambient + land.sun[1] * diffuse,
        land.ambient[2] * ambient + land.sun[2] * diffuse,
    )
    color = tint(albedo, light)
    haze = land.haze_far * (1.0 - math.exp(-max(0.0, z - land.haze_from) * land.haze_rate))
    haze *= math.exp(-0.28 * max(0.0, h))
    aside = xs - land.body_x
    toward = land.glow_strength * math.exp(-aside * aside / 0.09)
    mist = screen(land.haze, land.glow, 0.5 * toward)
    return mix(color, mist, min(1.0, haze * (1.0 + 0.35 * toward)))
