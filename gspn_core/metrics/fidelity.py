"""The difference of two pictures of one size: PSNR, SSIM, and a map of where they differ."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.metrics.arrays import luma, rgb

_BAND_ROWS = 256
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2, _L = 0.01, 0.03, 255.0
# A colour map from dark to light, readable in grey too: blue over grey to yellow.
_MAP = np.array(
    [
        [0, 32, 77],
        [0, 48, 111],
        [57, 72, 107],
        [87, 93, 109],
        [112, 113, 115],
        [138, 134, 120],
        [166, 157, 117],
        [196, 181, 108],
        [228, 207, 91],
        [255, 234, 70],
    ],
    dtype=np.float32,
)
# The scale never ends below this many of 255 levels, or noise would look like a difference.
_LEAST_SCALE = 8.0


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Return 10·log10(255² / mean squared error over all RGB values) in dB; infinite for equal pictures."""
    _check(one, other)
    a, b = rgb(one), rgb(other)
    total = 0.0
    for top in range(0, a.shape[0], _BAND_ROWS):
        band = a[top : top + _BAND_ROWS].astype(np.float32) - b[top : top + _BAND_ROWS]
        total += float(np.square(band, dtype=np.float64).sum())
    return math.inf if total == 0 else 10 * math.log10(255.0**2 * a.size / total)


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Return the mean structural similarity of the luma, 1 for equal pictures (Wang et al. 2004).

        (2μₐμ_b + C₁)(2σ_ab + C₂) / ((μₐ² + μ_b² + C₁)(σₐ² + σ_b² + C₂))

    with a Gaussian window of 11×11, σ 1.5, C = (K·255)², K₁ 0.01 and K₂ 0.03, where the window is within the
    picture. Raises BadSetting for two different sizes, and for pictures smaller than the window.
    """
    _check(one, other)
    if min(one.size) < _WINDOW:
        raise BadSetting("picture", f"SSIM needs {_WINDOW} px a side, got {one.width}×{one.height}.")
    a, b = luma(one), luma(other)
    c1, c2 = (_K1 * _L) ** 2, (_K2 * _L) ** 2
    total, count = 0.0, 0
    rows = a.shape[0] - _WINDOW + 1
    for top in range(0, rows, _BAND_ROWS):
        band = slice(top, min(top + _BAND_ROWS, rows) + _WINDOW - 1)
        x, y = a[band].astype(np.float64), b[band].astype(np.float64)
        mean_x, mean_y = _window(x), _window(y)
        var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
        cov = _window(x * y) - mean_x * mean_y
        index = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
        index /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
        total, count = total + float(index.sum()), count + index.size
    return total / count


def difference_map(one: Image.Image, other: Image.Image) -> tuple[Image.Image, float]:
    """Return a map of the mean absolute difference of R, G and B, and the difference at its lightest colour.

    The scale ends at the 99.5th percentile, so that single outliers do not darken all others.
    """
    _check(one, other)
    a, b = rgb(one).astype(np.int16), rgb(other).astype(np.int16)
    apart = np.abs(a - b).mean(axis=2, dtype=np.float32)
    top = max(float(np.percentile(apart, 99.5)), _LEAST_SCALE)
    place = np.clip(apart / top, 0, 1) * (len(_MAP) - 1)
    low = np.minimum(place.astype(np.int32), len(_MAP) - 2)
    share = (place - low)[..., None]
    colours = _MAP[low] * (1 - share) + _MAP[low + 1] * share
    return Image.fromarray(colours.round().astype(np.uint8)), top


def _window(values: np.ndarray) -> np.ndarray:
    """Return the Gaussian-weighted means of (H, W), (H - 10, W - 10)."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    height, width = values.shape[0] - _WINDOW + 1, values.shape[1] - _WINDOW + 1
    rows = sum(weight * values[i : i + height] for i, weight in enumerate(weights))
    return sum(weight * rows[:, i : i + width] for i, weight in enumerate(weights))


def _check(one: Image.Image, other: Image.Image) -> None:
    if one.size != other.size:
        raise BadSetting(
            "picture",
            f"pictures must have one size, got {one.width}×{one.height} and {other.width}×{other.height} px.",
        )
