"""Pictures as arrays, and resizing two to the same size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gspn_core.errors import BadSetting

# BT.601 luma, as in the SSIM paper and most implementations.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def rgb(image: Image.Image) -> np.ndarray:
    """Return a picture as uint8 (H, W, 3)."""
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def luma(image: Image.Image) -> np.ndarray:
    """Return a picture's luma, float32 (H, W) in [0, 255]."""
    return rgb(image).astype(np.float32) @ _LUMA


def to_size(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the picture shrunk to a size by a box filter."""
    if image.size == (width, height):
        return image if image.mode == "RGB" else image.convert("RGB")
    return image.convert("RGB").resize((width, height), Image.Resampling.BOX)


def same_size(one: Image.Image, other: Image.Image, most_px: int | None = None) -> tuple[Image.Image, ...]:
    """Return both pictures at the size of the smaller one, with a longer side of at most most_px.

    Raises BadSetting if their shapes differ by more than two pixels of the smaller.
    """
    small = min(one, other, key=lambda image: image.width * image.height)
    large = other if small is one else one
    if abs(large.height * small.width / large.width - small.height) > 2:
        raise BadSetting(
            "picture",
            f"pictures of {one.width}×{one.height} and {other.width}×{other.height} px have other shapes; "
            "choose two of one aspect.",
        )
    width, height = small.size
    if most_px is not None and max(width, height) > most_px:
        factor = most_px / max(width, height)
        width, height = max(1, round(width * factor)), max(1, round(height * factor))
    return to_size(one, width, height), to_size(other, width, height)
