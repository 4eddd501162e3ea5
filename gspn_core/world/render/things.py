"""Draw the object of a scene: cabin, sailboat, balloon, lighthouse, birds.

Shapes live in (u, v): the object's own heights, u to the right of its middle, v up from its foot. Each pixel
averages a few points of its square.
"""

import math

from numba import njit

from gspn_core.world.render.layout import BALLOON, BIRDS, CABIN, LIGHTHOUSE, SAILBOAT
from gspn_core.world.render.noise import fade, fbm, hash_unit, mix, screen, smoothstep, tint, value_noise

_EMPTY = (0.0, (0.0, 0.0, 0.0), 0.0)
_WARM = (1.0, 0.80, 0.42)


@njit(cache=True, nogil=True)
def _window(u, v, x, y, half):
    """Return where a point is in a window with a cross: 2 pane, 1 frame, 0 outside."""
    du = abs(u - x)
    dv = abs(v - y)
    if du > half or dv > half:
        return 0
    return 1 if min(du, dv) < 0.10 * half or max(du, dv) > 0.86 * half else 2


@njit(cache=True, nogil=True)
def _cabin(thing, u, v, foot, snowy):
    """Return coverage, albedo and own light of a log cabin at (u, v)."""
    if v < 0.0 or v > 1.15 or u < -0.98 or u > 1.02:
        return _EMPTY
    chimney = 0.24 < u < 0.37 and 0.70 < v < 1.12
    t = (v - 0.44) / 0.54
    if 0.0 <= t <= 1.0:
        # The roof seen from its long side, from the eaves up to the ridge.
        left = 0.02 - 0.47 * t
        right = 0.98 - 0.47 * t
        if left < u < right:
            rows = fbm(u, 3.0 * v, 0.10, 6, 0.6, foot, thing.seed + 1)
            board = 1.0 - 0.25 * fade(0.035, foot) * (1.0 if (v * 18.0) % 1.0 < 0.16 else 0.0)
            tone = mix((0.30, 0.20, 0.15), (0.42, 0.29, 0.21), 0.5 + 0.6 * rows)
            tone = (tone[0] * board, tone[1] * board, tone[2] * board)
            if snowy:
                tone = mix(tone, (0.92, 0.95, 1.0), smoothstep(0.02, 0.14, t + 0.1 * rows))
            return 1.0, tone, 0.0
        gable = abs(u + 0.45) - 0.40 * (1.0 - (v - 0.5) / 0.45)
        if v > 0.44 and 0.0 <= gable < 0.075 and u < -0.2:
            return 1.0, (0.90, 0.93, 0.98) if snowy else (0.26, 0.17, 0.12), 0.0
    if chimney:
        return 1.0, (0.46, 0.38, 0.35), 0.0
    logs = 1.0 - 0.35 * fade(0.05, foot) * smoothstep(0.75, 1.0, abs(((v * 11.0) % 1.0) * 2.0 - 1.0))
    grain = fbm(3.0 * v, 0.4 * u, 0.08, 6, 0.6, foot, thing.seed + 2)
    wood = mix((0.34, 0.20, 0.12), (0.56, 0.36, 0.22), 0.5 + 0.7 * grain)
    wood = (wood[0] * logs, wood[1] * logs, wood[2] * logs)
    if abs(u + 0.45) < 0.40 and (v < 0.5 or abs(u + 0.45) < 0.40 * (1.0 - (v - 0.5) / 0.45)):
        if -0.40 < u < -0.20 and v < 0.36:
            return 1.0, (0.22, 0.12, 0.08), 0.0
        pane = _window(u, v, -0.64, 0.28, 0.10)
        if pane == 2:
            return 1.0, _WARM, 1.0
        bright = 1.12
        return 1.0, (wood[0] * bright, wood[1] * bright, wood[2] * bright), 0.0
    if -0.05 <= u < 0.90 and v < 0.5:
        for k in range(2):
            if _window(u, v, 0.20 + 0.44 * k, 0.27, 0.115) == 2:
                return 1.0, _WARM, 1.0
        return 1.0, (wood[0] * 0.8, wood[1] * 0.8, wood[2] * 0.8), 0.0
    return _EMPTY


@njit(cache=True, nogil=True)
def _lighthouse(thing, u, v, foot):
    """Return coverage, albedo and own light of a striped lighthouse at (u, v)."""
    if v < -0.05 or v > 1.0 or abs(u) > 0.2:
        return _EMPTY
    if v < 0.05:
        if abs(u) < 0.17 + 0.5 * (0.05 - v) * 0.6 + 0.02 * value_noise(u * 30.0, v * 30.0, thing.seed):
            return 1.0, (0.42, 0.40, 0.39), 0.0
        return _EMPTY
    half = 0.105 - 0.045 * v
    if v < 0.76:
        if abs(u) > half:
            return _EMPTY
        round_ = math.sqrt(max(0.0, 1.0 - (u / half) ** 2))
        band = int(math.floor((v - 0.05) * 7.05))
        tone = thing.first if band % 2 == 0 else thing.second
        if abs(u + 0.2 * half) < 0.012 and ((v * 5.0) % 1.0) < 0.16:
            return 1.0, (0.13, 0.12, 0.14), 0.0
        worn = 0.94 + 0.16 * fbm(u / max(0.2, round_), v, 0.05, 6, 0.6, foot, thing.seed + 3)
        shade = (0.55 + 0.45 * round_) * worn
        return 1.0, (tone[0] * shade, tone[1] * shade, tone[2] * shade), 0.0
    if v < 0.795:
        return (1.0, (0.20, 0.19, 0.21), 0.0) if abs(u) < 0.098 else _EMPTY
    if v < 0.90:
        if abs(u) > 0.055:
            return _EMPTY
        return (1.0, (0.20, 0.19, 0.21), 0.0) if abs(abs(u) - 0.028) < 0.004 else (1.0, _WARM, 1.0)
    t = (v - 0.90) / 0.10
    if abs(u) < 0.068 * math.sqrt(max(0.0, 1.0 - t * t)):
        return 1.0, thing.first, 0.0
    return _EMPTY


@njit(cache=True, nogil=True)
def _sailboat(thing, u, v, foot):
    """Return coverage, albedo and own light of a boat with two sails at (u, v)."""
    if v < 0.0 or v > 1.0:
        return _EMPTY
    if v < 0.11:
        if -0.30 - 1.1 * v < u < 0.30 + 0.5 * v:
            band = (0.93, 0.91, 0.88) if v > 0.085 else (0.36, 0.20, 0.13)
            shade = 0.8 + 2.0 * v
            return 1.0, (band[0] * shade, band[1] * shade, band[2] * shade), 0.0
        return _EMPTY
    if abs(u - 0.02) < 0.010 and v < 0.99:
        return 1.0, (0.30, 0.20, 0.14), 0.0
    t = (v - 0.15) / 0.80
    if 0.0 < t < 1.0:
        belly = 0.05 * math.sin(3.14159 * t)
        seams = 1.0 - 0.08 * fade(0.04, foot) * (1.0 if (v * 9.0) % 1.0 < 0.1 else 0.0)
        if 0.03 < u < 0.04 + 0.38 * (1.0 - t) + belly:
            shade = (0.84 + 0.5 * (u - 0.03) * 0.9) * seams
            return 1.0, (thing.first[0] * shade, thing.first[1] * shade, thing.first[2] * shade), 0.0
        if v < 0.86 and -0.03 - 0.36 * (1.0 - t / 0.89) - 0.6 * belly < u < -0.01 - 0.10 * (1.0 - t):
            shade = (0.72 - 0.35 * u) * seams
            return 1.0, (thing.first[0] * shade, thing.first[1] * shade, thing.first[2] * shade), 0.0
    return _EMPTY


@njit(cache=True, nogil=True)
def _balloon(thing, u, v, foot):
    """Return coverage, albedo and own light of a hot air balloon at (u, v)."""
    if v < 0.0 or v > 1.0:
        return _EMPTY
    if v < 0.10:
        if abs(u) < 0.062 - 0.1 * (0.10 - v):
            weave = 1.0 - 0.2 * fade(0.02, foot) * (1.0 if (v * 60.0) % 1.0 < 0.3 else 0.0)
            return 1.0, (0.42 * weave, 0.27 * weave, 0.15 * weave), 0.0
        return _EMPTY
    if v > 0.60:
        half = 0.38 * math.sqrt(max(0.0, 1.0 - ((v - 0.60) / 0.40) ** 2))
    else:
        t = (v - 0.24) / 0.36
        half = 0.09 + 0.29 * math.sin(1.5708 * t) if t > 0.0 else 0.0
    if v < 0.24:
        rope = 0.06 + 0.03 * (v - 0.10) / 0.14
        return (0.6, (0.2, 0.15, 0.1), 0.0) if abs(abs(u) - rope) < 0.006 else _EMPTY
    if abs(u) > half:
        return _EMPTY
    a = math.asin(min(1.0, max(-1.0, u / half)))
    gore = int(math.floor((a / 3.14159 + 0.5) * 9.0))
    tone = thing.first if gore % 2 == 0 else thing.second
    if 0.555 < v < 0.645:
        tone = thing.second if gore % 2 == 0 else thing.first
    shade = 0.62 + 0.38 * math.cos(a - 0.5) - 0.12 * smoothstep(0.55, 0.25, v)
    # The burner's flame shines through the lower cloth.
    return 1.0, (tone[0] * shade, tone[1] * shade, tone[2] * shade), 0.4 * smoothstep(0.75, 0.25, v)


@njit(cache=True, nogil=True)
def _birds(thing, u, v):
    """Return the coverage of a flock at (u, v): wings that bend at the elbow."""
    for k in range(11):
        bu = 1.5 * (hash_unit(k, 1, thing.seed) - 0.5) + 0.08 * (k - 5)
        bv = 0.15 + 0.7 * hash_unit(k, 2, thing.seed)
        size = 0.10 + 0.09 * hash_unit(k, 3, thing.seed)
        du = abs(u - bu) / size
        if du > 1.0:
            continue
        lift = 0.10 + 0.30 * hash_unit(k, 4, thing.seed)
        dv = (v - bv) / size
        wing = lift * math.sin(3.14159 * min(1.0, 1.25 * du)) + 0.30 * lift * du
        thick = 0.16 * (1.0 - du) + 0.03
        if du < 0.10:
            thick = 0.17
        if abs(dv - wing) < thick:
            return 1.0
    return 0.0


@njit(cache=True, nogil=True)
def _point(thing, u, v, foot, snowy):
    if thing.kind == CABIN:
        return _cabin(thing, u, v, foot, snowy)
    if thing.kind == LIGHTHOUSE:
        return _lighthouse(thing, u, v, foot)
    if thing.kind == SAILBOAT:
        return _sailboat(thing, u, v, foot)
    if thing.kind == BALLOON:
        return _balloon(thing, u, v, foot)
    return _birds(thing, u, v), (0.10, 0.10, 0.12), 0.0


@njit(cache=True, nogil=True)
def _shine(thing, image, left, top, pixel):
    """Let lit windows and lamps shine into the air around them."""
    H, W, _ = image.shape
    u0 = 0.0
    v0 = 0.27
    reach = 0.55
    if thing.kind == LIGHTHOUSE:
        v0 = 0.85
        reach = 0.28
    elif thing.kind != CABIN:
        return
    for i in range(H):
        v = (thing.y - top - (i + 0.5) * pixel) / thing.tall - v0
        if abs(v) > 5.0 * reach:
            continue
        for j in range(W):
            u = (left + (j + 0.5) * pixel - thing.x) / thing.tall - u0
            if abs(u) > 8.0:
                continue
            glow = 0.55 * math.exp(-math.sqrt(u * u + v * v) / reach)
            if thing.kind == LIGHTHOUSE:
                # Two beams, a little raised, that widen and fade.
                off = abs(v - 0.06 * abs(u)) / (0.02 + 0.07 * abs(u))
                glow += 0.5 * math.exp(-off * off) * math.exp(-0.55 * abs(u))
            s = thing.lit * thing.lit * glow
            if s < 0.004:
                continue
            c = screen((image[i, j, 0], image[i, j, 1], image[i, j, 2]), _WARM, s)
            image[i, j, 0], image[i, j, 1], image[i, j, 2] = c


@njit(cache=True, nogil=True)
def half_width(kind):
    """Return how far an object of a kind reaches to either side, in its own heights."""
    return 1.3 if kind in (CABIN, BIRDS) else 0.5


@njit(cache=True, nogil=True)
def draw_thing(land, thing, image, cover, left, top, pixel):
    """Draw the object over `image` (H, W, 3) and add it to the land's coverage `cover` (H, W)."""
    H, W, _ = image.shape
    wide = half_width(thing.kind)
    i0 = max(0, int(math.floor((thing.y - 1.16 * thing.tall - top) / pixel)))
    i1 = min(H, int(math.ceil((thing.y + 0.06 * thing.tall - top) / pixel)) + 1)
    j0 = max(0, int(math.floor((thing.x - wide * thing.tall - left) / pixel)))
    j1 = min(W, int(math.ceil((thing.x + wide * thing.tall - left) / pixel)) + 1)
    step = pixel / thing.tall
    n = 4 if step > 0.004 else 2
    snowy = land.snowfall > 0.0 or land.cover == 0
    haze = 0.6 * land.haze_far * (1.0 - math.exp(-max(0.0, thing.z - land.haze_from) * land.haze_rate))
    for i in range(i0, i1):
        for j in range(j0, j1):
            share = 0.0
            r = 0.0
            g = 0.0
            b = 0.0
            for k in range(n * n):
                u = (left + (j + (k % n + 0.5) / n) * pixel - thing.x) / thing.tall
                v = (thing.y - top - (i + (k // n + 0.5) / n) * pixel) / thing.tall
                seen, albedo, own = _point(thing, u, v, step, snowy)
                if seen <= 0.0:
                    continue
                side = min(1.0, max(0.15, 0.62 + 0.5 * u * land.light[0]))
                light = (
                    land.ambient[0] + 0.75 * side * land.sun[0],
                    land.ambient[1] + 0.75 * side * land.sun[1],
                    land.ambient[2] + 0.75 * side * land.sun[2],
                )
                c = mix(tint(albedo, light), land.haze, haze)
                if own > 0.0:
                    c = mix(c, albedo, own * (0.35 + 0.65 * thing.lit))
                share += seen
                r += seen * c[0]
                g += seen * c[1]
                b += seen * c[2]
            if share <= 0.0:
                continue
            part = share / (n * n)
            image[i, j, 0] += part * (r / share - image[i, j, 0])
            image[i, j, 1] += part * (g / share - image[i, j, 1])
            image[i, j, 2] += part * (b / share - image[i, j, 2])
            cover[i, j] = max(cover[i, j], part)
    _shine(thing, image, left, top, pixel)


@njit(cache=True, nogil=True)
def draw_afloat(land, thing, image, left, top, pixel):
    """Draw a boat on the water of `image` (H, W, 3), its broken mirror image first."""
    H, W, _ = image.shape
    step = pixel / thing.tall
    light = (
        land.ambient[0] + 0.6 * land.sun[0],
        land.ambient[1] + 0.6 * land.sun[1],
        land.ambient[2] + 0.6 * land.sun[2],
    )
    i0 = max(0, int(math.floor((thing.y - top) / pixel)))
    i1 = min(H, int(math.ceil((thing.y + thing.tall - top) / pixel)) + 1)
    j0 = max(0, int(math.floor((thing.x - 0.5 * thing.tall - left) / pixel)))
    j1 = min(W, int(math.ceil((thing.x + 0.5 * thing.tall - left) / pixel)) + 1)
    for i in range(i0, i1):
        below = (top + (i + 0.5) * pixel - thing.y) / thing.tall
        if below < 0.0:
            continue
        sway = 0.05 * below * value_noise(below * 26.0, 0.5, thing.seed)
        sway += 0.02 * fade(0.02, step) * value_noise(below * 90.0, 0.5, thing.seed + 1)
        for j in range(j0, j1):
            u = (left + (j + 0.5) * pixel - thing.x) / thing.tall + sway
            seen, albedo, _ = _sailboat(thing, u, below * 1.05, step)
            share = (
                seen
                * 0.6
                * (1.0 - smoothstep(0.0, 1.0, below))
                * (0.75 + 0.25 * math.cos(60.0 * below + 9.0 * sway))
            )
            for q in range(3):
                image[i, j, q] += share * (0.8 * albedo[q] * light[q] - image[i, j, q])
