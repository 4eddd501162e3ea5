"""Squares cut from pictures at the same places for all methods."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

ENLARGED = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def crop_places(number: int, px: int, crop_px: int, count: int) -> tuple[tuple[int, int], ...]:
    """Return (top, left) of `count` squares in a picture of `px`; equal for all pictures of that number.

    If the square is as large as the picture, there is only one.
    """
    if px <= crop_px:
        return ((0, 0),)
    rng = np.random.default_rng((number, px, crop_px))
    return tuple((int(top), int(left)) for top, left in rng.integers(0, px - crop_px + 1, size=(count, 2)))


def cut(image: Image.Image, number: int, crop_px: int, count: int) -> Iterator[np.ndarray]:
    """Yield the squares of a square picture, uint8 (crop_px, crop_px, 3)."""
    pixels = np.asarray(image)
    for top, left in crop_places(number, image.width, crop_px, count):
        yield pixels[top : top + crop_px, left : left + crop_px]


def enlarge(base: Image.Image, px: int, method: str) -> Image.Image:
    """Return a base picture enlarged to a width of `px` by "bicubic" or "lanczos"."""
    return base.resize((px, round(base.height * px / base.width)), ENLARGED[method])
