"""Draw a scene, or a part of it, at any resolution."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from gspn_core.world.render.air import draw_air
from gspn_core.world.render.compose import make_layout
from gspn_core.world.render.layout import (
    BALLOON,
    BEACH,
    BIRDS,
    CABIN,
    LAKE,
    LIGHTHOUSE,
    PINES,
    RIVER,
    SAILBOAT,
    Layout,
)
from gspn_core.world.render.march import bank, crest, draw_land, first_depth
from gspn_core.world.render.sky import sky_color
from gspn_core.world.render.things import draw_afloat, draw_thing, half_width
from gspn_core.world.render.trees import draw_trees, plant_trees
from gspn_core.world.render.water import cut_river, draw_beach, draw_lake, shoreline
from gspn_core.world.scene import Scene

_WATERY = (LAKE, BEACH, RIVER)
_SKYLINE_PIXEL = 1.0 / 128.0


def render(
    scene: Scene,
    *,
    height: int,
    width: int,
    region: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """Draw `scene` as a uint8 array (height, width, 3) in sRGB.

    `region` is (top, left, bottom, right) in fractions of the full view, all of it by default; a part equals
    the same part of the full drawing. Pixels are square, so the view is as many times wider than high
    as the picture that would show all of it.
    Raises ValueError for an empty picture or a region outside the view.
    """
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1, got {height} x {width}.")
    top, left, bottom, right = (0.0, 0.0, 1.0, 1.0) if region is None else region
    if not (0.0 <= top < bottom <= 1.0 and 0.0 <= left < right <= 1.0):
        raise ValueError(
            f"region must be (top, left, bottom, right) with 0 <= low < high <= 1, got {region}."
        )
    pixel = (bottom - top) / height
    aspect = width / (right - left) * pixel
    layout = _layout_of(scene, aspect)
    view = _View((left - 0.5) * aspect, top, pixel, height, width)
    if layout.land.foreground in _WATERY:
        image = _with_water(layout, view)
    else:
        image, cover = _backdrop(layout, view)
        if layout.land.foreground == PINES:
            _plant(layout, image, cover, aspect, view)
        elif layout.thing.kind == CABIN:
            draw_thing(layout.land, layout.thing, image, cover, view.left, view.top, pixel)
    draw_air(layout.air, image, view.left, view.top, pixel)
    return _quantize(image)


def thing_box(scene: Scene) -> tuple[float, float, float, float] | None:
    """Return (top, left, bottom, right) of the scene's object in a square view, in fractions of it.

    None where the scene has no object; a box may reach beyond the view.
    """
    if scene.object == "none":
        return None
    thing = _layout_of(scene, 1.0).thing
    wide = half_width(thing.kind) * thing.tall
    return thing.y - thing.tall, 0.5 + thing.x - wide, thing.y, 0.5 + thing.x + wide


def _layout_of(scene: Scene, aspect: float) -> Layout:
    return make_layout(
        scene,
        aspect,
        lambda land, x: crest(land, x, _SKYLINE_PIXEL, first_depth(land)),
        lambda land, x: bank(land, x, _SKYLINE_PIXEL),
    )


class _View(NamedTuple):
    """The part of the view to draw: its top left corner and a pixel's side in view heights; its size."""

    left: float
    top: float
    pixel: float
    height: int
    width: int


def _backdrop(layout: Layout, view: _View) -> tuple[np.ndarray, np.ndarray]:
    """Draw land and sky and what stands or flies far off: colours (H, W, 3), the land's coverage (H, W)."""
    color = np.zeros((view.height, view.width, 3), np.float32)
    cover = np.zeros((view.height, view.width), np.float32)
    sky, land, thing, _ = layout
    draw_land(land, color, cover, view.left, view.top, view.pixel)
    _fill_sky(sky, color, cover, view.left, view.top, view.pixel)
    in_the_sky = thing.kind in (BALLOON, BIRDS)
    on_the_bank = thing.kind in (CABIN, LIGHTHOUSE) and land.foreground in (LAKE, BEACH)
    if in_the_sky or on_the_bank:
        draw_thing(land, thing, color, cover, view.left, view.top, view.pixel)
    return color, cover


def _plant(layout: Layout, image: np.ndarray, cover: np.ndarray, aspect: float, view: _View) -> None:
    """Draw the pines, and a cabin between the farther and the nearer ones."""
    land, thing = layout.land, layout.thing
    place = (view.left, view.top, view.pixel)
    trees = plant_trees(land, aspect)
    if thing.kind != CABIN:
        draw_trees(land, trees, image, *place)
        return
    # No tree hides the cabin.
    aside = np.abs(trees[:, 0] - thing.x) > 0.9 * thing.tall + 0.1 * trees[:, 2]
    far = trees[:, 3] > thing.z
    draw_trees(land, trees[far], image, *place)
    draw_thing(land, thing, image, cover, *place)
    draw_trees(land, trees[~far & aside], image, *place)


def _with_water(layout: Layout, view: _View) -> np.ndarray:
    """Draw the backdrop, its mirror image in lake, river or sea, and what floats on or stands before it."""
    sky, land, thing, _ = layout
    left, top, pixel, height, width = view
    line = shoreline(land)
    margin = math.ceil(0.06 / pixel)
    # Rows, counted from the picture's top edge, that the picture or its mirror image needs.
    first_water = max(top, line)
    last = top + height * pixel
    low, high = 0, height
    if last > line:
        low = min(low, math.floor((2 * line - last - top) / pixel) - margin)
        if land.foreground != RIVER:
            high = min(height, math.ceil((line - top) / pixel) + margin) if top < line else 0
        high = max(high, math.ceil((2 * line - first_water - top) / pixel) + margin)
    wide = _View(left - margin * pixel, top + low * pixel, pixel, high - low, width + 2 * margin)
    rows, cover = _backdrop(layout, wide)
    if land.foreground == RIVER:
        cut_river(land, cover, wide.left, wide.top, pixel)
    image = np.empty((height, width, 3), np.float32)
    draw_lake(sky, land, rows, cover, image, left, top, pixel, low, margin)
    if land.foreground == BEACH:
        draw_beach(land, image, left, top, pixel)
    if thing.kind == SAILBOAT:
        draw_afloat(land, thing, image, left, top, pixel)
        draw_thing(land, thing, image, np.empty(image.shape[:2], np.float32), left, top, pixel)
    elif thing.kind == CABIN and land.foreground == RIVER:
        draw_thing(land, thing, image, np.empty(image.shape[:2], np.float32), left, top, pixel)
    return image


@njit(cache=True, nogil=True)
def _fill_sky(sky, color, cover, left, top, pixel):
    H, W = cover.shape
    for j in range(W):
        land = -1
        for i in range(H):
            y = top + (i + 0.5) * pixel
            rest = 1.0 - cover[i, j]
            if rest <= 1e-4:
                land = i
                continue
            # Between the horizon and the shore only water is left over: it mirrors the land above.
            mirrored = 2 * land + 1 - i
            if y > sky.horizon and land >= 0 and mirrored >= 0 and cover[mirrored, j] > 0.5:
                c = (color[mirrored, j, 0], color[mirrored, j, 1], color[mirrored, j, 2])
            else:
                c = sky_color(sky, left + (j + 0.5) * pixel, y, pixel)
            color[i, j, 0] += rest * c[0]
            color[i, j, 1] += rest * c[1]
            color[i, j, 2] += rest * c[2]


@njit(cache=True, nogil=True)
def _quantize(image):
    H, W, C = image.shape
    out = np.empty((H, W, C), np.uint8)
    for i in range(H):
        for j in range(W):
            for c in range(C):
                v = min(1.0, max(0.0, image[i, j, c]))
                # A soft shoulder keeps bright snow and sun glow from clipping flat.
                if v > 0.85:
                    v = 0.85 + 0.15 * (1.0 - math.exp(-(v - 0.85) / 0.15)) / (1.0 - math.exp(-1.0))
                out[i, j, c] = int(v * 255.0 + 0.5)
    return out
