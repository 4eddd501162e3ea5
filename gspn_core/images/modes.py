"""Pictures of any mode as opaque eight-bit RGB."""

from __future__ import annotations

import math
from typing import Any

from PIL import Image

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_BACKGROUND = (255, 255, 255, 255)


def rgb_of(image: Image.Image) -> Image.Image:
    """Return a picture of any mode as RGB; transparency is white.

    16-bit values lose their lower byte. Integers of 32 bits are read as the narrowest of 8, 16 and 32 bits
    that holds them; floats as 0 to 1 or 0 to 255 where they fit, else stretched from their least to their
    greatest. Values that are not numbers are black.

    Raises:
        ValueError: no value of the picture is a number.
    """
    if image.mode in _SIXTEEN_BITS or image.mode in ("I", "F"):
        return _deep(image)
    transparency = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(transparency, tuple) and max(transparency) > 255:
        # Named in 16 bits, while Pillow has made the pixels eight-bit.
        image.info["transparency"] = tuple(value >> 8 for value in transparency)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        over = image.convert("RGBA")
        ground = Image.new("RGBA", over.size, _BACKGROUND)
        return Image.alpha_composite(ground, over).convert("RGB")
    # A copy without the file's text, profile and comments.
    return image.convert("RGB").copy()


def _deep(image: Image.Image) -> Image.Image:
    """Return a grey picture of more than eight bits as RGB."""
    # At the top of the module it would slow down all that never meets such a picture.
    import numpy as np

    values = np.asarray(image)
    if image.mode == "F":
        grey = _from_floats(values)
    elif image.mode in _SIXTEEN_BITS:
        grey = values.astype(np.uint16) // 257
    else:
        grey = _from_integers(values.astype(np.int64))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey = np.where(values == clear, 255, grey)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")


def _from_integers(values: Any) -> Any:
    low, high = int(values.min()), int(values.max())
    if low < 0:
        return _stretched(values, low, high)
    return values // {8: 1, 16: 257, 32: 0x01010101}[next(bits for bits in (8, 16, 32) if high < 2**bits)]


def _from_floats(values: Any) -> Any:
    import numpy as np

    known = values[np.isfinite(values)]
    if not known.size:
        raise ValueError("no value is a number")
    low, high = float(known.min()), float(known.max())
    scaled = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    if low >= 0 and high <= 1:
        scaled = np.rint(scaled * 255)
    elif low < 0 or high > 255:
        scaled = _stretched(scaled, low, high)
    return np.where(np.isnan(values), 0, scaled)


def _stretched(values: Any, low: float, high: float) -> Any:
    """Return values from low to high as 0 to 255; those of a flat picture as middle grey."""
    if math.isclose(low, high):
        return values * 0 + 128
    return (values - low) * (255 / (high - low))
