"""Turn a scene into the numbers that the kernels draw from: palette, light, placement. Draws nothing."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gspn_core.world.scene import Scene

Color = tuple[float, float, float]


class Sky(NamedTuple):
    """What the sky kernel needs; lengths in view heights, colours in display values 0..1."""

    seed: int
    horizon: float
    stops: tuple[Color, Color, Color, Color, Color]
    glow: Color
    glow_strength: float
    disc: Color
    body: int
    body_x: float
    body_y: float
    body_radius: float
    cloud_cover: float
    cloud_lit: Color
    cloud_shade: Color
    cloud_scale: float
    stars: float


class Land(NamedTuple):
    """What the land and water kernels need; world units, the camera `eye` above the plane z."""

    seed: int
    terrain: int
    cover: int
    foreground: int
    horizon: float
    eye: float
    shore: float
    relief: float
    swell: float
    light: tuple[float, float, float]
    sun: Color
    ambient: Color
    haze: Color
    haze_far: float
    glow: Color
    glow_strength: float
    body_x: float
    rock: Color
    rock_dark: Color
    growth: Color
    growth_light: Color
    sand: Color
    flower: Color
    snowline: float
    water: Color


FOCAL = 1.2
DEPTH = 16.0
NO_BODY, SUN, MOON = 0, 1, 2
MOUNTAINS, HILLS, DUNES = 0, 1, 2
SNOWY, ROCKY, GREEN, RED, SANDY = 0, 1, 2, 3, 4
LAKE, MEADOW, PINES, DESERT = 0, 1, 2, 3
_BODIES = {"none": NO_BODY, "sun": SUN, "moon": MOON}
_TERRAINS = {"mountains": MOUNTAINS, "hills": HILLS, "dunes": DUNES}
_COVERS = {"snowy": SNOWY, "rocky": ROCKY, "green": GREEN, "red": RED, "sandy": SANDY}
_FOREGROUNDS = {"lake": LAKE, "meadow": MEADOW, "pines": PINES, "desert": DESERT}

# Zenith to horizon, in display values.
_STOPS = {
    "dawn": (
        (0.33, 0.43, 0.68),
        (0.50, 0.54, 0.76),
        (0.78, 0.66, 0.76),
        (0.97, 0.76, 0.68),
        (1.0, 0.88, 0.72),
    ),
    "day": (
        (0.13, 0.36, 0.76),
        (0.24, 0.50, 0.87),
        (0.42, 0.67, 0.94),
        (0.64, 0.82, 0.97),
        (0.84, 0.93, 0.98),
    ),
    "dusk": (
        (0.13, 0.11, 0.33),
        (0.31, 0.17, 0.43),
        (0.62, 0.26, 0.43),
        (0.93, 0.44, 0.30),
        (1.0, 0.70, 0.36),
    ),
    "night": (
        (0.012, 0.026, 0.085),
        (0.022, 0.046, 0.13),
        (0.04, 0.08, 0.19),
        (0.07, 0.12, 0.25),
        (0.12, 0.19, 0.33),
    ),
}
_LIGHTS = {
    # direct light, ambient light, haze, glow, disc, lit cloud, shaded cloud
    "dawn": (
        (1.05, 0.80, 0.62),
        (0.42, 0.41, 0.52),
        (0.93, 0.76, 0.72),
        (1.0, 0.76, 0.48),
        (1.0, 0.95, 0.78),
        (1.0, 0.84, 0.74),
        (0.66, 0.56, 0.68),
    ),
    "day": (
        (1.02, 0.98, 0.90),
        (0.40, 0.46, 0.56),
        (0.68, 0.82, 0.94),
        (1.0, 0.97, 0.86),
        (1.0, 0.99, 0.93),
        (1.0, 1.0, 1.0),
        (0.66, 0.74, 0.84),
    ),
    "dusk": (
        (1.0, 0.68, 0.50),
        (0.31, 0.28, 0.41),
        (0.84, 0.40, 0.34),
        (1.0, 0.56, 0.22),
        (1.0, 0.86, 0.52),
        (1.0, 0.55, 0.36),
        (0.38, 0.20, 0.38),
    ),
    "night": (
        (0.36, 0.45, 0.62),
        (0.125, 0.165, 0.275),
        (0.13, 0.20, 0.35),
        (0.50, 0.62, 0.85),
        (0.95, 0.96, 0.93),
        (0.30, 0.36, 0.50),
        (0.06, 0.09, 0.17),
    ),
}
_ROCKS = {
    "gray": ((0.47, 0.44, 0.42), (0.29, 0.28, 0.29)),
    "red": ((0.72, 0.40, 0.26), (0.47, 0.22, 0.16)),
}
_FLOWERS = (
    (0.93, 0.80, 0.25),
    (0.66, 0.45, 0.85),
    (0.90, 0.28, 0.22),
    (0.95, 0.93, 0.90),
    (0.95, 0.55, 0.70),
)


def make_layout(scene: Scene, aspect: float, skyline: Callable[[Land, float], float]) -> tuple[Sky, Land]:
    """Return the sky's and the land's numbers for a view `aspect` times as wide as high.

    `skyline(land, x)` returns the y of the highest land at view x: the sun and the moon rise above it.
    """
    rng = np.random.default_rng(scene.seed)
    stops = _vary(_STOPS[scene.time], _draw(rng, -0.03, 0.03), _draw(rng, 0.94, 1.05))
    land = _make_land(scene, rng, stops, min(1.0, aspect))
    return _make_sky(scene, rng, stops, land, skyline(land, land.body_x)), land


def _make_land(scene: Scene, rng: np.random.Generator, stops: tuple[Color, ...], reach: float) -> Land:
    """`reach` scales how far from the middle the sun or the moon may stand."""
    direct, ambient, haze, glow, *_ = _LIGHTS[scene.time]
    dunes = scene.terrain == "dunes"
    low_light = scene.time in ("dawn", "dusk")
    lit = scene.celestial != "none"
    if scene.time == "night" and not lit:
        direct = tuple(0.75 * c for c in direct)
    horizon = _draw(rng, 0.44, 0.5) if dunes else _draw(rng, 0.52, 0.58)
    side = _draw(rng, 0.08, 0.36) * (1 if rng.random() < 0.5 else -1)
    shift = _draw(rng, -0.05, 0.05)
    across = side if lit else math.copysign(0.35, side)
    light = np.array([2.6 * across, 0.42 if low_light or dunes else 0.75, -0.32])
    light /= np.linalg.norm(light)
    rock, rock_dark = _ROCKS["red" if scene.cover == "red" else "gray"]
    return Land(
        seed=int(rng.integers(2**30)),
        terrain=_TERRAINS[scene.terrain],
        cover=_COVERS[scene.cover],
        foreground=_FOREGROUNDS[scene.foreground],
        horizon=horizon,
        eye=0.17 if dunes and scene.foreground == "desert" else 0.05,
        shore=_draw(rng, 2.4, 3.2),
        relief=_draw(rng, 0.85, 1.12),
        swell=_draw(rng, 0.7, 1.3),
        light=tuple(float(v) for v in light),
        sun=direct,
        ambient=ambient,
        haze=haze,
        haze_far=_draw(rng, 0.55, 0.8),
        glow=glow,
        glow_strength={"night": 0.1, "day": 0.25}.get(scene.time, 0.55) * lit,
        body_x=side * reach,
        rock=_shift(rock, shift),
        rock_dark=_shift(rock_dark, shift),
        growth=_shift((0.16, 0.29, 0.12), shift),
        growth_light=_shift((0.40, 0.52, 0.18), shift),
        sand=_shift((0.82, 0.62, 0.39), 0.6 * shift),
        flower=_FLOWERS[int(rng.integers(len(_FLOWERS)))],
        snowline=_draw(rng, 0.30, 0.55),
        water=tuple(0.5 * z + 0.18 * a for z, a in zip(stops[1], ambient, strict=True)),
    )


def _make_sky(
    scene: Scene, rng: np.random.Generator, stops: tuple[Color, ...], land: Land, skyline_y: float
) -> Sky:
    """Place the sun or the moon above the land, which reaches up to `skyline_y` below it."""
    *_, disc, cloud_lit, cloud_shade = _LIGHTS[scene.time]
    radius = _draw(rng, 0.036, 0.05) * (0.9 if scene.time == "day" else 1.1)
    if scene.time in ("dawn", "dusk"):
        body_y = max(0.1, skyline_y - _draw(rng, 0.4, 2.6) * radius)
    else:
        body_y = _draw(rng, 0.09, max(0.12, min(0.3, skyline_y - 2.2 * radius)))
    cloudy = scene.sky == "cloudy"
    return Sky(
        seed=int(rng.integers(2**30)),
        horizon=land.horizon,
        stops=stops,
        glow=land.glow,
        glow_strength=float(scene.celestial != "none"),
        disc=disc,
        body=_BODIES[scene.celestial],
        body_x=land.body_x,
        body_y=body_y,
        body_radius=radius,
        cloud_cover=_draw(rng, 0.46, 0.62) if cloudy else 0.0,
        cloud_lit=cloud_lit,
        cloud_shade=cloud_shade,
        cloud_scale=_draw(rng, 0.8, 1.3),
        stars=float(scene.time == "night") * (0.5 if cloudy else 1.0),
    )


def _draw(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _vary(stops: tuple[Color, ...], shift: float, gain: float) -> tuple[Color, ...]:
    return tuple(_shift(tuple(min(1.0, c * gain) for c in stop), shift * 0.6) for stop in stops)


def _shift(color: Color, amount: float) -> Color:
    """Warm (amount > 0) or cool a colour a little."""
    r, g, b = color
    return (min(1.0, r * (1.0 + amount)), g, min(1.0, b * (1.0 - amount)))
