"""Turn a scene into the numbers that the kernels draw from: light, haze, placement. Draws nothing."""

import math
from collections.abc import Callable

import numpy as np

from gspn_core.world.render.colors import (
    CLOTHS,
    FLOWERS,
    GRASSES,
    GROWTHS,
    LIGHTS,
    ROCKS,
    SAILS,
    STOPS,
    Color,
    blend,
    gray,
    shift,
    vary,
)
from gspn_core.world.render.layout import (
    AUTUMN,
    BALLOON,
    BEACH,
    BIRDS,
    CABIN,
    CLIFFS,
    COOL,
    CRESCENT,
    DESERT,
    DRY,
    DUNES,
    FOCAL,
    FOG,
    GOLDEN,
    GREEN,
    HILLS,
    ISLANDS,
    LAKE,
    LIGHTHOUSE,
    MEADOW,
    MOON,
    MOUNTAINS,
    NATURAL,
    NO_BODY,
    NOTHING,
    PASTEL,
    PINES,
    RAIN,
    RED,
    RIVER,
    ROCKY,
    SAILBOAT,
    SANDY,
    SNOW,
    SNOWY,
    SUN,
    VIVID,
    Air,
    Land,
    Layout,
    Sky,
    Thing,
)
from gspn_core.world.scene import WATERS, Scene

_BODIES = {"none": NO_BODY, "sun": SUN, "moon": MOON, "crescent": CRESCENT}
_TERRAINS = {"mountains": MOUNTAINS, "hills": HILLS, "dunes": DUNES, "islands": ISLANDS, "cliffs": CLIFFS}
_COVERS = {"snowy": SNOWY, "rocky": ROCKY, "green": GREEN, "red": RED, "sandy": SANDY, "autumn": AUTUMN}
_FOREGROUNDS = {
    "lake": LAKE,
    "meadow": MEADOW,
    "pines": PINES,
    "desert": DESERT,
    "river": RIVER,
    "beach": BEACH,
}
_WEATHERS = {"none": DRY, "fog": FOG, "rain": RAIN, "snow": SNOW}
_OBJECTS = {
    "none": NOTHING,
    "cabin": CABIN,
    "sailboat": SAILBOAT,
    "balloon": BALLOON,
    "lighthouse": LIGHTHOUSE,
    "birds": BIRDS,
}
_PALETTES = {"natural": NATURAL, "golden": GOLDEN, "cool": COOL, "pastel": PASTEL, "vivid": VIVID}
# The light that comes through: of the sun, of the sky; and how much of its colour the air keeps.
_DIM = {
    "stormy": (0.5, 0.95, 0.4),
    "rain": (0.6, 1.0, 0.4),
    "snow": (0.65, 1.1, 0.45),
    "fog": (0.75, 1.05, 0.25),
}


def make_layout(
    scene: Scene,
    aspect: float,
    skyline: Callable[[Land, float], float],
    bank: Callable[[Land, float], tuple[float, float]],
) -> Layout:
    """Return the numbers of a scene for a view `aspect` times as wide as high.

    `skyline(land, x)` returns the y of the highest land at view x: the sun and the moon rise above it.
    `bank(land, x)` returns depth and view y of the first land beyond the water at view x: houses stand there.
    """
    rng = np.random.default_rng(scene.seed)
    stops = vary(STOPS[scene.time], _draw(rng, -0.03, 0.03), _draw(rng, 0.94, 1.05))
    reach = min(1.0, aspect)
    land = _make_land(scene, rng, stops, reach)
    sky = _make_sky(scene, rng, stops, land, skyline(land, land.body_x))
    thing = _make_thing(scene, np.random.default_rng((scene.seed, 7)), land, reach, bank)
    drop = blend(land.haze, (1.0, 1.0, 1.0), 0.35 if scene.weather == "rain" else 0.75)
    if scene.time == "night":
        drop = gray(drop, 0.3, 0.72)
    air = Air(scene.seed % 9973, _WEATHERS[scene.weather], drop, _PALETTES[scene.palette])
    return Layout(sky, land, thing, air)


def _overcast(scene: Scene) -> tuple[float, float, float]:
    """Return the shares of direct and of ambient light that are left, and the share of gray in the air."""
    direct, ambient, dull = 1.0, 1.0, 0.0
    for name in (scene.sky, scene.weather):
        if name in _DIM:
            direct, ambient, dull = direct * _DIM[name][0], ambient * _DIM[name][1], max(dull, _DIM[name][2])
    return direct, ambient, dull


def _make_land(scene: Scene, rng: np.random.Generator, stops: tuple[Color, ...], reach: float) -> Land:
    """`reach` scales how far from the middle the sun or the moon may stand."""
    direct, ambient, haze, glow, *_ = LIGHTS[scene.time]
    dunes = scene.terrain == "dunes"
    low_light = scene.time in ("dawn", "dusk")
    lit = scene.celestial != "none"
    through, left, dull = _overcast(scene)
    if scene.time == "night":
        through, left = (through if lit else 0.8 * through), 1.35 * left
    if scene.sky == "aurora":
        ambient = blend(ambient, (0.13, 0.30, 0.25), 0.55)
    horizon = _draw(rng, 0.44, 0.5) if dunes else _draw(rng, 0.52, 0.58)
    side = _draw(rng, 0.08, 0.36) * (1 if rng.random() < 0.5 else -1)
    tone = _draw(rng, -0.05, 0.05)
    across = side if lit else math.copysign(0.35, side)
    light = np.array([2.6 * across, 0.42 if low_light or dunes else 0.75, -0.32])
    light /= np.linalg.norm(light)
    rock, rock_dark = ROCKS["red" if scene.cover == "red" else "gray"]
    kind = "autumn" if scene.cover == "autumn" else "green"
    growth, growth_light, growth_other = (shift(color, tone) for color in GROWTHS[kind])
    grass, grass_light = GRASSES[kind]
    fog = scene.weather == "fog"
    thick = fog or scene.weather in ("rain", "snow")
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
        side=math.copysign(1.0, _draw(rng, -1.0, 1.0)),
        light=tuple(float(v) for v in light),
        sun=tuple(through * c for c in gray(direct, dull)),
        ambient=tuple(left * c for c in gray(ambient, 0.7 * dull)),
        haze=gray(haze, dull, 1.0 if fog or scene.time == "night" else 1.0 - 0.35 * dull),
        haze_far=0.96 if fog else max(0.8 * thick, _draw(rng, 0.55, 0.8)),
        haze_rate=0.75 if fog else 0.24 if thick else 0.115,
        haze_from=0.3 if fog else 1.2,
        glow=glow,
        glow_strength={"night": 0.1, "day": 0.25}.get(scene.time, 0.55) * lit,
        body_x=side * reach,
        rock=shift(rock, tone),
        rock_dark=shift(rock_dark, tone),
        growth=growth,
        growth_light=growth_light,
        growth_other=growth_other,
        grass=grass,
        grass_light=grass_light,
        sand=shift((0.82, 0.62, 0.39), 0.6 * tone),
        flower=FLOWERS[int(rng.integers(len(FLOWERS)))],
        snowline=_draw(rng, 0.30, 0.55),
        snowfall=0.7 if scene.weather == "snow" else 0.0,
        water=tuple(0.5 * z + 0.18 * a for z, a in zip(_dull_stops(scene, stops)[1], ambient, strict=True)),
        bend=_draw(rng, 0.1, 0.2) * (1 if rng.random() < 0.5 else -1),
        bend_phase=_draw(rng, -0.5, 0.5),
    )


def _dull_stops(scene: Scene, stops: tuple[Color, ...]) -> tuple[Color, ...]:
    """Take the light out of a sky that storm, rain, snow or fog hide."""
    _, _, dull = _overcast(scene)
    dark = 0.72 if scene.sky == "stormy" else 1.0 - 0.2 * dull
    return tuple(gray(stop, dull, dark) for stop in stops)


def _make_sky(
    scene: Scene, rng: np.random.Generator, stops: tuple[Color, ...], land: Land, skyline_y: float
) -> Sky:
    """Place the sun or the moon above the land, which reaches up to `skyline_y` below it."""
    *_, disc, cloud_lit, cloud_shade = LIGHTS[scene.time]
    radius = _draw(rng, 0.036, 0.05) * (0.9 if scene.time == "day" else 1.1)
    if scene.celestial == "crescent":
        radius *= 1.25
    if scene.time in ("dawn", "dusk"):
        body_y = max(0.1, skyline_y - _draw(rng, 0.4, 2.6) * radius)
    else:
        body_y = _draw(rng, 0.09, max(0.12, min(0.3, skyline_y - 2.2 * radius)))
    cover, (_, _, dull) = _draw(rng, 0.46, 0.62), _overcast(scene)
    storm = scene.sky == "stormy"
    night = scene.time == "night"
    return Sky(
        seed=int(rng.integers(2**30)),
        horizon=land.horizon,
        stops=_dull_stops(scene, stops),
        glow=land.glow,
        glow_strength=float(scene.celestial != "none"),
        disc=disc,
        body=_BODIES[scene.celestial],
        body_x=land.body_x,
        body_y=body_y,
        body_radius=radius,
        cloud_cover={"cloudy": cover, "stormy": cover + 0.22}.get(scene.sky, 0.0),
        cloud_lit=gray(cloud_lit, dull, 0.8 if storm else 1.0 - 0.2 * dull),
        cloud_shade=gray(cloud_shade, dull, (0.75 if night else 0.42) if storm else 1.0 - 0.2 * dull),
        cloud_scale=_draw(rng, 0.8, 1.3),
        stars=float(night) * {"clear": 1.0, "aurora": 0.9, "cloudy": 0.5}.get(scene.sky, 0.0),
        aurora=float(scene.sky == "aurora"),
        mist=land.haze,
        mist_share={"fog": 0.85, "rain": 0.4, "snow": 0.45}.get(scene.weather, 0.0),
    )


def _make_thing(
    scene: Scene,
    rng: np.random.Generator,
    land: Land,
    reach: float,
    bank: Callable[[Land, float], tuple[float, float]],
) -> Thing:
    """Place the object where such things are: on the water, on the bank, in the meadow, in the sky."""
    kind = _OBJECTS[scene.object]
    away = -math.copysign(1.0, land.body_x)
    x = away * _draw(rng, 0.1, 0.34) * reach
    first, second = CLOTHS[int(rng.integers(len(CLOTHS)))]
    z, y, tall = 1.0, 0.5, 0.2
    if kind == SAILBOAT:
        z = _draw(rng, 0.42, 0.7)
        y = land.horizon + FOCAL * land.eye / z
        tall = _draw(rng, 0.19, 0.26)
        first = SAILS[int(rng.integers(len(SAILS)))]
    elif kind == LIGHTHOUSE or (kind == CABIN and scene.foreground in WATERS):
        tall = _draw(rng, 0.26, 0.34) if kind == LIGHTHOUSE else _draw(rng, 0.10, 0.13)
        x, z, y = _on_the_bank(land, x, reach, bank)
        first, second = (0.80, 0.15, 0.12), (0.95, 0.94, 0.90)
    elif kind == CABIN:
        z = _draw(rng, 0.55, 0.85)
        y = land.horizon + FOCAL * land.eye / z
        tall = _draw(rng, 0.14, 0.18)
        # The river bends through the middle; the cabin stands next to it.
        x = away * _draw(rng, 0.24, 0.34) * reach
    elif kind == BALLOON:
        tall = _draw(rng, 0.22, 0.3)
        y = _draw(rng, tall + 0.05, max(tall + 0.06, land.horizon - 0.06))
        z = 5.0
    elif kind == BIRDS:
        tall = _draw(rng, 0.16, 0.24)
        y = _draw(rng, 0.28, 0.42)
        x = away * _draw(rng, 0.0, 0.25) * reach
    lit = {"night": 1.0, "dusk": 0.75, "dawn": 0.55, "day": 0.25}[scene.time]
    if scene.sky == "stormy" or scene.weather != "none":
        lit = max(lit, 0.6)
    return Thing(kind, x, y, tall, z, int(rng.integers(2**20)), first, second, lit)


def _on_the_bank(
    land: Land, x: float, reach: float, bank: Callable[[Land, float], tuple[float, float]]
) -> tuple[float, float, float]:
    """Return x, depth and y of the nearest land of several places around view x."""
    places = [(x + k * 0.04 * reach, *bank(land, x + k * 0.04 * reach)) for k in range(-4, 5)]
    places = [place for place in places if abs(place[0]) < 0.42 * reach]
    return min(places, key=lambda place: place[1] + 0.8 * abs(place[0] - x))


def _draw(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))
