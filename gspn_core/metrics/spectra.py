"""Spectra of pictures' luma, block by block, and the energy in their octaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.metrics.arrays import luma

_BLOCK_PX = 1024
# Positions are tried at this distance; finer steps make no visible difference.
_STRIDE_PX = 8


@dataclass(frozen=True, kw_only=True)
class Octave:
    """Energy and coherence of two pictures in one octave of frequencies.

    energy, true_energy: mean square of the luma in it, of the picture and of the truth, in levels².
    coherence: Re Σ X·Y* / √(Σ|X|² · Σ|Y|²) over the octave's bins, in [-1, 1], the Fourier ring correlation:
    1 if the picture has the true detail, about 0 if its detail is invented. Invented detail raises the energy
    but not the coherence.
    """

    energy: float
    true_energy: float
    coherence: float


def compare_octaves(picture: Image.Image, truth: Image.Image, count: int) -> tuple[Octave, ...]:
    """Compare the finest `count` octaves of a picture with those of the true picture, finest first.

    The finest is between half and the whole of the Nyquist frequency, each next one at half of that.

    Raises:
        BadSetting: pictures of two sizes.
    """
    if picture.size != truth.size:
        raise BadSetting(
            "picture",
            f"pictures must have one size, got {picture.width}×{picture.height} and "
            f"{truth.width}×{truth.height} px; resize one.",
        )
    bands, sums = [_band(picture, number) for number in range(count)], []
    for x, y in zip(block_spectra(luma(picture)), block_spectra(luma(truth)), strict=True):
        products = np.abs(x) ** 2, np.abs(y) ** 2, (x * y.conj()).real
        sums.append([[(band * product).sum() for product in products] for band in bands])
    return tuple(_octave(*map(float, found)) for found in np.mean(sums, axis=0))


def _octave(own: float, true: float, cross: float) -> Octave:
    coherence = cross / (own * true) ** 0.5 if own * true else float(own == true)
    return Octave(energy=own, true_energy=true, coherence=coherence)


def octave_energy(picture: Image.Image) -> float:
    """Return the mean square of a picture's luma between half of Nyquist and Nyquist, in levels²."""
    weight = _band(picture, 0)
    return float(np.mean([(weight * np.abs(x) ** 2).sum() for x in block_spectra(luma(picture))]))


def busiest_place(picture: Image.Image, side: int) -> tuple[int, int]:
    """Return (top, left) of the square of `side` px with the most energy in the finest octave.

    Raises:
        BadSetting: the picture is smaller than the square.
    """
    H, W = picture.height, picture.width
    if min(H, W) < side:
        raise BadSetting("picture", f"{W}×{H} px hold no square of {side} px; ask for a smaller one.")
    whole = Image.fromarray(luma(picture))
    half = whole.resize((max(1, W // 2), max(1, H // 2)), Image.Resampling.BOX)
    band = np.asarray(whole, np.float64) - np.asarray(half.resize((W, H), Image.Resampling.BICUBIC))
    sums = np.pad(band**2, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    tops, lefts = (np.arange(0, length - side + 1, _STRIDE_PX) for length in (H, W))
    rows = sums[tops + side] - sums[tops]
    inside = rows[:, lefts + side] - rows[:, lefts]
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    return int(tops[row]), int(lefts[column])


def block_spectra(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the transform (h, w // 2 + 1) of each block of at most 1024 px a side, under a Hann window.

    Each block's mean is subtracted first, as in Welch's method. values: (H, W).
    """
    height, width = block_size(*values.shape)
    window = _window(height, width)
    for top in range(0, values.shape[0] - height + 1, height):
        for left in range(0, values.shape[1] - width + 1, width):
            block = values[top : top + height, left : left + width].astype(np.float64)
            yield np.fft.rfft2((block - block.mean()) * window)


def block_size(height: int, width: int) -> tuple[int, int]:
    """Return the height and width of the blocks of a picture of that size."""
    return min(height, _BLOCK_PX), min(width, _BLOCK_PX)


def frequencies(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each bin's frequency in cycles per pixel, and how many bins of the full FFT it stands for."""
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    stands_for = np.ones_like(radius)
    # rfft2 returns one of each pair of opposite frequencies; those on the axis count once.
    stands_for[:, 1 : (width + 1) // 2] = 2
    return radius, stands_for


def _window(height: int, width: int) -> np.ndarray:
    return np.hanning(height)[:, None] * np.hanning(width)[None, :]


def _band(picture: Image.Image, number: int) -> np.ndarray:
    """Return each bin's weight in an octave's mean square, 0 outside of it; octave 0 is the finest."""
    height, width = block_size(picture.height, picture.width)
    radius, stands_for = frequencies(height, width)
    top = 0.5 / 2**number
    inside = (radius > top / 2) & (radius <= top)
    return inside * stands_for / (height * width * np.square(_window(height, width)).sum())
