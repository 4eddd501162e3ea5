"""Draw the lake: the mirrored backdrop, bent by ripples, with the light's path on it."""

import math

from numba import njit

from gspn_core.world._layout import FOCAL, MOON
from gspn_core.world._noise import fade, mix, screen, smoothstep, value_noise


@njit(cache=True, nogil=True)
def shoreline(land):
    """Return the y about which the lake mirrors the backdrop."""
    return land.horizon + FOCAL * land.eye / (land.shore * 1.06)


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
    strength = (0.55 if sky.body == MOON else 0.85) * (1.0 - 0.35 * near)
    return screen(color, sky.glow, strength * path * flash)
