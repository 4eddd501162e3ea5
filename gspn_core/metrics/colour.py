"""CIE L*a*b* colours, and the local colour difference of two pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.metrics.arrays import rgb

# Side in px of the squares whose mean colours are compared.
AREA_PX = 16

_SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _SRGB_TO_XYZ.sum(axis=1)


def lab(colours: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* (D65) of sRGB colours (..., 3) in [0, 255]."""
    values = np.asarray(colours, dtype=np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _SRGB_TO_XYZ.T / _WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


def local_colour_difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean ΔE*ab (CIE 1976) between two pictures, each averaged over squares of 16 px.

    The means are of sRGB values. Detail finer than a square does not count; a local change of colour does.
    Pixels beyond the last whole square are left out.

    Raises:
        BadSetting: pictures of two sizes, or smaller than one square.
    """
    if one.size != other.size or min(one.size) < AREA_PX:
        raise BadSetting(
            "picture",
            f"local colours need two pictures of one size of {AREA_PX} px a side or more, got "
            f"{one.width}×{one.height} and {other.width}×{other.height}; resize one.",
        )
    return float(np.linalg.norm(lab(_area_means(one)) - lab(_area_means(other)), axis=-1).mean())


def _area_means(image: Image.Image) -> np.ndarray:
    rows, columns = image.height // AREA_PX, image.width // AREA_PX
    whole = rgb(image)[: rows * AREA_PX, : columns * AREA_PX].astype(np.float64)
    return whole.reshape(rows, AREA_PX, columns, AREA_PX, 3).mean(axis=(1, 3))
