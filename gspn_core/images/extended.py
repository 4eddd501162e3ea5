"""An init image on a larger canvas: its edges mirrored and blurred where nothing is drawn yet."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from gspn_core.extension import Margins

# A new part is fully blurred this share of the largest margin away from the picture.
_FADE = 0.5
_BLUR = 0.12


def extended(image: Image.Image, height: int, width: int, margins: Margins) -> Image.Image:
    """Return a picture in the middle of a canvas that is larger by `margins`, RGB.

    Args:
        image: resized in RGB (Lanczos) to height × width px if it has another size; otherwise its very
            pixels are on the canvas.
        height: of the picture on the canvas.
        width: likewise.
        margins: px that are added at each side.
    """
    left, right, top, bottom = margins
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    inner = np.asarray(image.convert("RGB"))
    mirrored = np.pad(inner, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
    reach = max(margins)
    blurred = np.asarray(Image.fromarray(mirrored).filter(ImageFilter.GaussianBlur(_BLUR * reach)))
    y, x = _away(top, height, bottom), _away(left, width, right)
    away = np.maximum(y[:, None], x[None, :])[..., None] / max(1.0, _FADE * reach)
    canvas = mirrored + (blurred.astype(np.float32) - mirrored) * np.minimum(away, 1.0)
    canvas = np.rint(canvas).astype(np.uint8)
    canvas[top : top + height, left : left + width] = inner
    return Image.fromarray(canvas)


def _away(before: int, side: int, after: int) -> np.ndarray:
    """Return each line's distance in px from the picture, 0 within it, float32 (before + side + after,)."""
    at = np.arange(before + side + after, dtype=np.float32)
    return np.maximum(0, np.maximum(before - at, at - (before + side - 1)))
