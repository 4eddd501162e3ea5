"""The numbers that the kernels draw from: records and codes. Knows no scene and draws nothing."""

from typing import NamedTuple

from gspn_core.world.render.colors import Color


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
    aurora: float
    mist: Color
    mist_share: float


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
    side: float
    light: tuple[float, float, float]
    sun: Color
    ambient: Color
    haze: Color
    haze_far: float
    haze_rate: float
    haze_from: float
    glow: Color
    glow_strength: float
    body_x: float
    rock: Color
    rock_dark: Color
    growth: Color
    growth_light: Color
    growth_other: Color
    grass: Color
    grass_light: Color
    sand: Color
    flower: Color
    snowline: float
    snowfall: float
    water: Color
    bend: float
    bend_phase: float


class Thing(NamedTuple):
    """An object in the view: centre x and foot y in view heights, its height there, its depth and colours."""

    kind: int
    x: float
    y: float
    tall: float
    z: float
    seed: int
    first: Color
    second: Color
    lit: float


class Air(NamedTuple):
    """What falls between the scene and the eye, and how the picture is graded."""

    seed: int
    weather: int
    drop: Color
    palette: int


class Layout(NamedTuple):
    """All that the kernels need to draw a scene."""

    sky: Sky
    land: Land
    thing: Thing
    air: Air


FOCAL = 1.2
DEPTH = 16.0
NO_BODY, SUN, MOON, CRESCENT = 0, 1, 2, 3
MOUNTAINS, HILLS, DUNES, ISLANDS, CLIFFS = 0, 1, 2, 3, 4
SNOWY, ROCKY, GREEN, RED, SANDY, AUTUMN = 0, 1, 2, 3, 4, 5
LAKE, MEADOW, PINES, DESERT, RIVER, BEACH = 0, 1, 2, 3, 4, 5
DRY, FOG, RAIN, SNOW = 0, 1, 2, 3
NOTHING, CABIN, SAILBOAT, BALLOON, LIGHTHOUSE, BIRDS = 0, 1, 2, 3, 4, 5
NATURAL, GOLDEN, COOL, PASTEL, VIVID = 0, 1, 2, 3, 4
