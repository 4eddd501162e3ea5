"""Draw a scene, or a part of it, at any resolution."""

import math

import numpy as np
from numba import njit

from gspn_core.world._layout import LAKE, PINES, make_layout
from gspn_core.world._march import crest, draw_land, first_depth
from gspn_core.world._sky import sky_color
from gspn_core.world._trees import draw_trees, plant_trees
from gspn_core.world._water import draw_lake, shoreline
from gspn_core.world.scene import Scene

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
    sky, land = make_layout(scene, aspect, lambda land, x: crest(land, x, _SKYLINE_PIXEL, first_depth(land)))
    x0 = (left - 0.5) * aspect
    if land.foreground == LAKE:
        image = _with_lake(sky, land, x0, top, pixel, height, width)
    else:
        image, _ = _backdrop(sky, land, x0, top, pixel, height, width)
        if land.foreground == PINES:
            trees = plant_trees(land, aspect)
            draw_trees(land, trees, image, x0, top, pixel)
    return _quantize(image)


def _backdrop(sky, land, left: float, top: float, pixel: float, height: int, width: int):
    color = np.zeros((height, width, 3), np.float32)
    cover = np.zeros((height, width), np.float32)
    draw_land(land, color, cover, left, top, pixel)
    _fill_sky(sky, color, cover, left, top, pixel)
    return color, cover


def _with_lake(sky, land, left: float, top: float, pixel: float, height: int, width: int) -> np.ndarray:
    line = shoreline(land)
    margin = math.ceil(0.06 / pixel)
    # Rows, counted from the picture's top edge, that the picture or its mirror image needs.
    first_water = max(top, line)
    last = top + height * pixel
    low, high = 0, height
    if last > line:
        low = min(low, math.floor((2 * line - last - top) / pixel) - margin)
        high = min(height, math.ceil((line - top) / pixel) + margin) if top < line else 0
        high = max(high, math.ceil((2 * line - first_water - top) / pixel) + margin)
    rows, cover = _backdrop(
        sky, land, left - margin * pixel, top + low * pixel, pixel, high - low, width + 2 * margin
    )
    image = np.empty((height, width, 3), np.float32)
    draw_lake(sky, land, rows, cover, image, left, top, pixel, low, margin)
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
            if y > sky.horizon and land >= 0:
                # Between the horizon and the shore only water is left over; it will mirror the land above.
                c = (color[land, j, 0], color[land, j, 1], color[land, j, 2])
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
