"""Draw the lake: the mirrored backdrop, bent by ripples, with the light's path on it."""

import math

from numba import njit

from gspn_core.world.render.layout import FOCAL, SUN
from gspn_core.world.render.noise import fade, fbm, mix, screen, smoothstep, tint, value_noise


@njit(cache=True, nogil=True)
def shoreline(land):
    """Return the y about which the lake mirrors the backdrop."""
    return land.horizon + FOCAL * land.eye / (land.shore * 1.06)


@njit(cache=True, nogil=True)
def cut_river(land, cover, left, top, pixel):
    """Take the river's bed out of the land's coverage `cover` (H, W), for the water to show there."""
    H, W = cover.shape
    line = shoreline(land)
    for i in range(H):
        y = top + (i + 0.5) * pixel
        if y <= line:
            continue
        z = FOCAL * land.eye / (y - land.horizon)
        middle = land.bend * math.sin(1.7 * math.log(z) + land.bend_phase)
        foot = z * pixel / FOCAL
        half = 0.058 + 0.010 * fbm(0.5, z, 0.35, 4, 0.5, foot, land.seed + 95)
        # The far end closes before the land rises.
        half *= smoothstep(land.shore * 1.02, land.shore * 0.8, z)
        for j in range(W):
            xs = left + (j + 0.5) * pixel
            x = xs * z / FOCAL
            ragged = 0.012 * fbm(x, z, 0.11, 7, 0.6, foot, land.seed + 96)
            inside = half + ragged - abs(x - middle * z / FOCAL)
            cover[i, j] *= 1.0 - min(1.0, max(0.0, inside * FOCAL / (z * pixel) + 0.5))


@njit(cache=True, nogil=True)
def draw_beach(land, image, left, top, pixel):
    """Draw the sand before the sea over `image` (H, W, 3): a foamy edge, wet sand, dry sand."""
    H, W, _ = image.shape
    light = (
        land.ambient[0] + 0.62 * land.sun[0],
        land.ambient[1] + 0.62 * land.sun[1],
        land.ambient[2] + 0.62 * land.sun[2],
    )
    sand = tint(mix(land.sand, (0.93, 0.84, 0.68), 0.35), light)
    for i in range(H):
        y = top + (i + 0.5) * pixel
        if y < land.horizon + 0.1:
            continue
        z = FOCAL * land.eye / (y - land.horizon)
        wide = z * pixel / FOCAL
        foot = wide * math.sqrt(z / land.eye)
        for j in range(W):
            xs = left + (j + 0.5) * pixel
            x = xs * z / FOCAL
            wave = 0.030 * math.sin(7.0 * xs + land.bend_phase * 9.0) + 0.02 * math.sin(17.0 * xs + 1.3)
            wave += 0.012 * fbm(xs, 0.3, 0.07, 8, 0.5, pixel, land.seed + 97)
            edge = 0.30 + 0.28 * land.side * xs + wave
            into = y - land.horizon - edge
            if into < -0.05:
                continue
            wet = 1.0 - smoothstep(0.0, 0.075, into)
            grain = fbm(x, z, 0.02, 8, 0.66, foot, land.seed + 98)
            ribs = (
                0.12 * fade(0.02, foot) * value_noise(9.0 * x + 2.0 * z, 40.0 * (z + 0.2 * x), land.seed + 99)
            )
            shade = 1.0 + 0.26 * grain + ribs
            c = (sand[0] * shade, sand[1] * shade, sand[2] * shade)
            mirror = (image[i, j, 0], image[i, j, 1], image[i, j, 2])
            dark = (0.55 * c[0], 0.54 * c[1], 0.55 * c[2])
            c = mix(c, mix(dark, mirror, 0.4), 0.85 * wet)
            share = min(1.0, max(0.0, into / pixel + 0.5))
            foam = 0.0
            for k in range(3):
                at = (0.004, -0.017, -0.036)[k] + 0.008 * fbm(
                    xs, 0.7, 0.05, 8, 0.55, pixel, land.seed + 190 + k
                )
                broad = (0.010, 0.0055, 0.004)[k]
                d = abs(into - at)
                lace = 0.72 + 0.5 * fbm(xs, y, 0.012, 6, 0.62, pixel, land.seed + 194)
                foam = max(foam, (0.95, 0.6, 0.4)[k] * lace * smoothstep(broad + pixel, 0.3 * broad, d))
            white = (min(1.0, light[0]), min(1.0, light[1]), min(1.0, light[2]))
            for q in range(3):
                v = image[i, j, q] + share * (c[q] - image[i, j, q])
                image[i, j, q] = v + min(1.0, max(0.0, foam)) * (0.97 * white[q] - v)


@njit(cache=True, nogil=True)
def _ripple(land, x, z, wide, deep):
    """Slope of the water at (x, z): (resolved slope, unresolved energy 0..1)."""
    slope = 0.0
    hidden = 0.0
    amplitude = 0.5
    length = 0.10
    total = 0.0
    for k in range(7):
        weight = min(fade(length, deep), fade(4.0 * length, wide))
        if weight > 0.0:
            slope += (
                weight * amplitude * value_noise(x / (4.0 * length) + 3.1 * k, z / length, land.seed + 90 + k)
            )
        hidden += (1.0 - weight) * amplitude
        total += amplitude
        amplitude *= 0.76
        length *= 0.52
        x, z = x + 0.15 * z, z - 0.06 * x
    return slope, hidden / total


@njit(cache=True, nogil=True)
def _sample(rows, x, y):
    """Read `rows` (H, W, 3) bilinearly at pixel coordinates (x, y), clamped to its edges."""
    H, W, _ = rows.shape
    x = min(W - 1.001, max(0.0, x))
    y = min(H - 1.001, max(0.0, y))
    j = int(x)
    i = int(y)
    u = x - j
    v = y - i
    a = mix(
        (rows[i, j, 0], rows[i, j, 1], rows[i, j, 2]),
        (rows[i, j + 1, 0], rows[i, j + 1, 1], rows[i, j + 1, 2]),
        u,
    )
    i += 1
    b = mix(
        (rows[i, j, 0], rows[i, j, 1], rows[i, j, 2]),
        (rows[i, j + 1, 0], rows[i, j + 1, 1], rows[i, j + 1, 2]),
        u,
    )
    return mix(a, b, v)


@njit(cache=True, nogil=True)
def draw_lake(sky, land, rows, cover, image, left, top, pixel, low, margin):
    """Fill `image` (H, W, 3) with the backdrop and, below it, the lake.

    `rows` (H', W + 2·margin, 3) is the backdrop from row `low` on, counted from the image's top edge;
    `cover` (H', W + 2·margin) is the land's coverage of it.
    """
    H, W, _ = image.shape
    h_rows = rows.shape[0]
    line = shoreline(land)
    for i in range(H):
        y = top + (i + 0.5) * pixel
        below = (y - land.horizon) / pixel
        water = min(1.0, max(0.0, below + 0.5))
        near = smoothstep(line, 1.02, y)
        z = FOCAL * land.eye / max(y - land.horizon, 0.3 * pixel)
        wide = z * pixel / FOCAL
        deep = z * wide / land.eye
        row = i - low
        for j in range(W):
            has_row = 0 <= row < h_rows
            land_cover = cover[row, j + margin] if has_row else 0.0
            share = water * (1.0 - land_cover)
            if share < 1e-4:
                for q in range(3):
                    image[i, j, q] = rows[row, j + margin, q]
                continue
            xs = left + (j + 0.5) * pixel
            slope, hidden = _ripple(land, xs * z / FOCAL, z, wide, deep)
            bend = (0.008 + 0.044 * near) * slope
            ym = (2.0 * line - y + bend - top) / pixel - 0.5 - low
            ym = min(ym, (line - top) / pixel - 0.5 - low)
            xm = j + margin + 0.25 * bend / pixel
            spread = (0.004 + 0.020 * near) * hidden / pixel
            a = _sample(rows, xm, ym)
            b = _sample(rows, xm, ym - spread)
            c = _sample(rows, xm, min(ym + spread, (line - top) / pixel - 0.5 - low))
            color = (
                0.4 * a[0] + 0.3 * (b[0] + c[0]),
                0.4 * a[1] + 0.3 * (b[1] + c[1]),
                0.4 * a[2] + 0.3 * (b[2] + c[2]),
            )
            color = mix(color, land.water, 0.10 + 0.42 * near - 0.10 * slope * near)
            if sky.body > 0:
                color = _glitter(sky, color, xs, near, slope, hidden)
            for q in range(3):
                base = rows[row, j + margin, q] if has_row and share < 1.0 else 0.0
                image[i, j, q] = color[q] * share + base * (1.0 - share) if share < 1.0 else color[q]


@njit(cache=True, nogil=True)
def _glitter(sky, color, xs, near, slope, hidden):
    """Add the broken path of light under the sun or the moon."""
    breadth = sky.body_radius * (0.55 + 1.5 * near)
    aside = (xs - sky.body_x + 0.02 * slope) / breadth
    path = math.exp(-0.5 * aside * aside)
    if path < 1e-3:
        return color
    flash = hidden * 0.45 + (1.0 - hidden) * smoothstep(0.02, 0.42, slope)
    strength = (0.85 if sky.body == SUN else 0.55) * (1.0 - 0.35 * near)
    return screen(color, sky.glow, strength * path * flash)
