"""What a cascade preserved of its base and what it added: consistency, detail, drift, repetition, seams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.metrics.arrays import luma, rgb, to_size
from gspn_core.metrics.colour import lab
from gspn_core.metrics.fidelity import psnr
from gspn_core.metrics.spectra import block_size, block_spectra, frequencies

_REPETITION_PX = 512


def consistency(picture: Image.Image, base: Image.Image) -> float:
    """Return the PSNR in dB of a picture, shrunk by area, against the smaller one it was made from."""
    _check_larger(picture, base)
    return psnr(to_size(picture, *base.size), to_size(base, *base.size))


def detail(picture: Image.Image, base_width: int) -> float:
    """Return the share of a picture's luma energy that a base of that width could not hold.

    Energy of the power spectrum (Welch's method, blocks of at most 1024 px under a Hann window) beyond the
    base's Nyquist frequency, ½·base_width / width cycles per pixel, over that of all frequencies but zero.
    """
    if not 0 < base_width <= picture.width:
        raise BadSetting(
            "picture",
            f"a base must be 1 to {picture.width} px wide, got {base_width}; give the stage's own base.",
        )
    power, radius = _spectrum(luma(picture))
    total = power[radius > 0].sum()
    return float(power[radius > 0.5 * base_width / picture.width].sum() / total) if total > 0 else 0.0


def spectrum_slope(picture: Image.Image) -> float:
    """Return the slope of log power over log frequency between 1/64 and ½ cycles per pixel.

    About -2 for natural pictures; steeper for softer ones.
    """
    power, radius = _spectrum(luma(picture))
    edges = np.geomspace(1 / 64, 0.5, 13)
    ring = np.digitize(radius, edges)
    means = np.array([power[ring == i].mean() if (ring == i).any() else np.nan for i in range(1, len(edges))])
    centres = np.sqrt(edges[:-1] * edges[1:])
    good = np.isfinite(means) & (means > 0)
    if good.sum() < 2:
        return 0.0
    return float(np.polyfit(np.log(centres[good]), np.log(means[good]), 1)[0])


def colour_drift(picture: Image.Image, base: Image.Image) -> float:
    """Return ΔE*ab (CIE 1976) between the mean colours of a picture and of the one it was made from."""
    _check_larger(picture, base)
    one, other = (lab(rgb(image).reshape(-1, 3).mean(axis=0)) for image in (picture, base))
    return float(np.linalg.norm(one - other))


def repetition(picture: Image.Image, scale: int) -> float:
    """Return the highest autocorrelation of the luma at a distance of a base patch or more, in [0, 1].

    scale: the picture's side over the base's, 2 or more. A model beyond its trained size repeats itself about
    once per base patch; 1 would be an exact copy. Low frequencies are removed first.
    """
    if scale < 2:
        raise BadSetting("scale", f"repetition needs a picture of 2 or more base sizes, got {scale}.")
    factor = min(1.0, _REPETITION_PX / max(picture.size))
    width, height = (max(2, round(side * factor)) for side in picture.size)
    values = luma(to_size(picture, width, height)).astype(np.float64)
    patch_y, patch_x = max(1, height // scale), max(1, width // scale)
    values = values - _box_mean(values, patch_y, patch_x)
    # Pad to twice the size, so that the correlation does not wrap around.
    spectrum = np.fft.rfft2(values, s=(2 * height, 2 * width))
    overlap = np.fft.rfft2(np.ones_like(values), s=(2 * height, 2 * width))
    sums = np.fft.irfft2(np.abs(spectrum) ** 2)[: height // 2, : width // 2]
    counts = np.fft.irfft2(np.abs(overlap) ** 2)[: height // 2, : width // 2]
    variance = sums[0, 0] / counts[0, 0]
    if variance < 1e-9:
        return 0.0
    correlation = sums / counts / variance
    beyond = np.zeros_like(correlation, dtype=bool)
    beyond[patch_y:], beyond[:, patch_x:] = True, True
    return float(np.clip(correlation[beyond].max(), 0, 1)) if beyond.any() else 0.0


def seams(picture: Image.Image, rows: Sequence[int], columns: Sequence[int]) -> float:
    """Return the mean step across tile edges over the mean step elsewhere; 1 if there are no edges.

    rows, columns: the first pixel of each tile, from 1 to the side minus 1.
    """
    values = luma(picture)
    steps = {0: np.abs(np.diff(values, axis=0)).mean(axis=1), 1: np.abs(np.diff(values, axis=1)).mean(axis=0)}
    at, off = [], []
    for axis, edges in ((0, rows), (1, columns)):
        length = values.shape[axis]
        if any(not 0 < edge < length for edge in edges):
            raise BadSetting("edges", f"tile edges must be from 1 to {length - 1} px, got {sorted(edges)}.")
        marked = np.zeros(length - 1, dtype=bool)
        marked[[edge - 1 for edge in edges]] = True
        at += [*steps[axis][marked]]
        off += [*steps[axis][~marked]]
    elsewhere = float(np.mean(off)) if off else 0.0
    return float(np.mean(at)) / elsewhere if at and elsewhere > 0 else 1.0


def _spectrum(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean power of blocks and each bin's frequency in cycles per pixel."""
    radius, stands_for = frequencies(*block_size(*values.shape))
    power = np.mean([np.abs(spectrum) ** 2 for spectrum in block_spectra(values)], axis=0)
    return power * stands_for, radius


def _box_mean(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the mean over a box around each pixel, with mirrored edges."""
    for axis, size in ((0, height), (1, width)):
        before = size // 2
        pad = [(0, 0), (0, 0)]
        pad[axis] = (before + 1, size - 1 - before)
        sums = np.cumsum(np.pad(values, pad, mode="symmetric"), axis=axis)
        length = values.shape[axis]
        high = np.take(sums, range(size, size + length), axis=axis)
        values = (high - np.take(sums, range(length), axis=axis)) / size
    return values


def _check_larger(picture: Image.Image, base: Image.Image) -> None:
    if picture.width < base.width or picture.height < base.height:
        raise BadSetting(
            "picture",
            f"a picture of {picture.width}×{picture.height} px was not made from one of "
            f"{base.width}×{base.height}; give the larger one first.",
        )
