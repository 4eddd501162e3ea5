"""Draw the sky: gradient, glow, stars, sun or moon, clouds. A function of the view point alone."""

import math

from numba import njit

from gspn_core.world.render.layout import CRESCENT, SUN
from gspn_core.world.render.noise import fbm, hash_unit, mix, screen, smoothstep, value_noise


@njit(cache=True, nogil=True)
def _gradient(sky, height):
    """Colour at `height`: 0 at the horizon, 1 at the zenith."""
    t = min(1.0, max(0.0, 1.0 - height)) ** 1.15 * 4.0
    k = min(3, int(t))
    f = t - k
    f = f * f * (3.0 - 2.0 * f) * 0.5 + f * 0.5
    s = sky.stops
    if k == 0:
        return mix(s[0], s[1], f)
    if k == 1:
        return mix(s[1], s[2], f)
    if k == 2:
        return mix(s[2], s[3], f)
    return mix(s[3], s[4], f)


@njit(cache=True, nogil=True)
def _star_light(x, y, pixel, seed):
    """Light of the stars in one jittered lattice, spread over at least a pixel without changing its sum."""
    cell = 0.045
    ix = int(math.floor(x / cell))
    iy = int(math.floor(y / cell))
    light = 0.0
    for j in range(-1, 2):
        for i in range(-1, 2):
            chance = hash_unit(ix + i, iy + j, seed)
            if chance > 0.36:
                continue
            sx = (ix + i + 0.15 + 0.7 * hash_unit(ix + i, iy + j, seed + 1)) * cell
            sy = (iy + j + 0.15 + 0.7 * hash_unit(ix + i, iy + j, seed + 2)) * cell
            power = hash_unit(ix + i, iy + j, seed + 3)
            radius = 0.0011 + 0.0010 * power * power
            spread = radius * radius + 0.2 * pixel * pixel
            d = ((x - sx) ** 2 + (y - sy) ** 2) / spread
            if d < 18.0:
                light += (0.35 + 1.3 * power * power * power) * radius * radius / spread * math.exp(-0.5 * d)
    return light


@njit(cache=True, nogil=True)
def _cloud_density(u, v, footprint, cover, seed):
    n = 0.5 + 0.75 * fbm(u, v, 1.0, 9, 0.52, footprint, seed)
    return smoothstep(1.0 - cover - 0.04, 1.0 - cover + 0.34, n)


@njit(cache=True, nogil=True)
def _add_body(sky, color, x, y, pixel):
    dx = x - sky.body_x
    dy = y - sky.body_y
    distance = math.sqrt(dx * dx + dy * dy)
    cover = min(1.0, max(0.0, (sky.body_radius - distance) / pixel + 0.5))
    if cover <= 0.0:
        return color
    if sky.body == CRESCENT:
        # What the sun does not light of it is the colour of the sky.
        inner = 0.92 * sky.body_radius
        aside = math.sqrt((dx - 0.42 * sky.body_radius) ** 2 + (dy + 0.16 * sky.body_radius) ** 2)
        cover *= 1.0 - 0.97 * min(1.0, max(0.0, (inner - aside) / pixel + 0.5))
    disc = sky.disc
    rim = min(1.0, distance / sky.body_radius)
    if sky.body != SUN:
        u = dx / sky.body_radius
        v = dy / sky.body_radius
        seas = smoothstep(-0.1, 0.35, fbm(u, v, 0.75, 7, 0.5, pixel / sky.body_radius, sky.seed + 71))
        shade = 1.0 - 0.22 * seas - 0.16 * rim * rim * rim
        disc = (disc[0] * shade, disc[1] * shade, disc[2] * shade * 1.01)
    else:
        disc = mix(disc, sky.glow, 0.35 * rim * rim * rim)
    return mix(color, disc, cover)


@njit(cache=True, nogil=True)
def _add_aurora(sky, color, x, y, pixel):
    """Hang curtains of light over the sky: sharp below, fading upwards, folded and rayed."""
    for k in range(3):
        seed = sky.seed + 40 + 7 * k
        fold = 0.09 * value_noise(1.3 * x + 0.7 * k, 0.5, seed) + 0.035 * value_noise(5.0 * x, 0.5, seed + 1)
        edge = (0.62 - 0.13 * k) * sky.horizon + fold
        above = edge - y
        if above < -0.02 or above > 0.5:
            continue
        strength = smoothstep(-0.45, 0.25, value_noise(2.1 * x + 3.0 * k, 0.5, seed + 2))
        rays = 0.62 + 0.6 * fbm(x + 0.08 * above, 0.03 * y, 0.045, 8, 0.6, pixel, seed + 3)
        tall = 0.09 + 0.05 * value_noise(3.0 * x, 0.5, seed + 4)
        light = strength * rays * smoothstep(-0.012, 0.014, above) * math.exp(-max(0.0, above) / tall)
        tone = mix((0.28, 0.95, 0.55), (0.55, 0.30, 0.85), smoothstep(0.02, 0.22, above))
        color = screen(color, tone, sky.aurora * 0.85 * max(0.0, light))
    return color


@njit(cache=True, nogil=True)
def sky_color(sky, x, y, pixel):
    """Return the colour of the sky at view point (x, y); `pixel` is the side of a pixel in view heights."""
    height = (sky.horizon - y) / sky.horizon
    color = _gradient(sky, height)
    if sky.stars > 0.0:
        light = sky.stars * _star_light(x, y, pixel, sky.seed + 11) * smoothstep(0.02, 0.3, height)
        color = screen(color, (0.92, 0.95, 1.0), light)
    if sky.aurora > 0.0:
        color = _add_aurora(sky, color, x, y, pixel)
    if sky.body > 0:
        dx = x - sky.body_x
        dy = y - sky.body_y
        d2 = dx * dx + dy * dy
        r2 = sky.body_radius * sky.body_radius
        wide = 0.42 if sky.body == SUN else 0.22
        near = 0.75 if sky.body == SUN else 0.42
        halo = wide / (1.0 + d2 / (20.0 * r2)) + near * math.exp(-math.sqrt(d2) / (1.5 * sky.body_radius))
        color = screen(color, sky.glow, halo * sky.glow_strength)
        color = _add_body(sky, color, x, y, pixel)
    if sky.cloud_cover > 0.0 and height > 0.0:
        depth = 1.0 / (height + 0.14)
        u = x * depth * 1.5 * sky.cloud_scale + sky.seed % 97
        v = depth * 2.6 * sky.cloud_scale
        # The cloud sheet is seen at a slant: its rows crowd together towards the horizon.
        footprint = pixel * depth * sky.cloud_scale * (1.5 + 1.3 * depth)
        density = _cloud_density(u, v, footprint, sky.cloud_cover, sky.seed)
        if density > 0.0:
            toward = 0.24 * min(1.0, max(-1.0, 3.0 * (sky.body_x - x)))
            ahead = _cloud_density(u + toward, v - 0.16, footprint, sky.cloud_cover, sky.seed)
            lit = min(1.0, max(0.0, 0.62 + 0.9 * (density - ahead) - 0.35 * density * density))
            cloud = mix(sky.cloud_shade, sky.cloud_lit, lit)
            if sky.body > 0:
                d2 = (x - sky.body_x) ** 2 + (y - sky.body_y) ** 2
                density *= 1.0 - 0.82 * math.exp(-d2 / (5.0 * sky.body_radius * sky.body_radius))
                cloud = screen(cloud, sky.glow, 0.5 * sky.glow_strength * math.exp(-d2 / 0.045))
            cloud = mix(cloud, color, 0.55 * (1.0 - smoothstep(0.0, 0.3, height)))
            color = mix(color, cloud, density * 0.92 * smoothstep(0.0, 0.1, height))
    if sky.mist_share > 0.0:
        color = mix(color, sky.mist, sky.mist_share * math.exp(-2.4 * max(0.0, height)))
    return color
