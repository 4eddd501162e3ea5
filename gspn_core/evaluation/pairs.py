"""Figures of a picture against the true picture of its scene, and their means over scenes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from gspn_core.evaluation.crops import cut
from gspn_core.evaluation.figures import structure
from gspn_core.evaluation.frechet import Gaussian, frechet_distance
from gspn_core.evaluation.prompts import Prompt, adherence
from gspn_core.metrics.arrays import to_size
from gspn_core.metrics.classifier import Classifier, look
from gspn_core.metrics.colour import local_colour_difference
from gspn_core.metrics.fidelity import psnr, ssim
from gspn_core.metrics.samples import to_sample
from gspn_core.metrics.spectra import compare_octaves

# The PSNR in dB that equal pictures count as in a mean.
MOST_DB = 100.0
# Figures of one picture that are averaged over scenes.
MEANS = ("psnr", "ssim", "perceptual", "colour", "consistency", "seams", "repetition")
_NORM_FLOOR = 1e-10


@dataclass(frozen=True, kw_only=True)
class ScenePair:
    """A scene rendered twice: the base that a method starts from and the truth that it should reach."""

    prompt: Prompt
    base: Image.Image
    truth: Image.Image


@dataclass(frozen=True, kw_only=True)
class SceneFigures:
    """The measurements of one picture.

    figures: by name; crops: the classifier's features (C, F) of squares cut at places that are the same for
    all pictures of the scene; seen: the attributes that the picture shows; seconds: processor time of
    making it, None if it was not timed.
    """

    prompt: Prompt
    figures: Mapping[str, float]
    crops: np.ndarray
    seen: Mapping[str, str]
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure over scenes and its standard error; the error is None for fewer than two scenes."""

    value: float
    error: float | None


def measure_picture(
    picture: Image.Image,
    pair: ScenePair,
    classifier: Classifier,
    *,
    crops: int,
    tile_px: int,
    seconds: float | None = None,
) -> SceneFigures:
    """Measure a picture at the truth's size.

    crops: how many squares of the base's size are cut out of it; tile_px: the tiles that it was decoded in.
    """
    base_px = pair.base.width
    kept = structure(picture, pair.base, tile_px if picture.width > tile_px else None)
    small = to_size(picture, pair.base.width, pair.base.height)
    shown = look(classifier, [np.asarray(small)]).values
    return SceneFigures(
        prompt=pair.prompt,
        figures={
            "psnr": min(psnr(picture, pair.truth), MOST_DB),
            "ssim": ssim(picture, pair.truth),
            "perceptual": perceptual_distance(classifier, picture, pair.truth, base_px),
            "colour": local_colour_difference(picture, pair.truth),
            **_octaves(picture, pair),
            "consistency": min(kept["consistency"], MOST_DB),
            "seams": kept["seams"],
            "repetition": kept["repetition"],
        },
        crops=look(classifier, cut(picture, pair.prompt.number, base_px, crops)).features,
        seen={name: values[0] for name, values in shown.items()},
        seconds=seconds,
    )


def octave_count(base_px: int, px: int) -> int:
    """Return how many octaves are compared: those above the base's Nyquist frequency, and one below it."""
    return round(math.log2(px / base_px)) + 1


def _octaves(picture: Image.Image, pair: ScenePair) -> dict[str, float]:
    count = octave_count(pair.base.width, pair.truth.width)
    found = {}
    for number, octave in enumerate(compare_octaves(picture, pair.truth, count), start=1):
        found[f"energy {number}"] = octave.energy
        found[f"true energy {number}"] = octave.true_energy
        found[f"coherence {number}"] = octave.coherence
    return found


def measure_base(pair: ScenePair, classifier: Classifier) -> SceneFigures:
    """Measure only the adherence of a scene's base to its caption."""
    shown = look(classifier, [np.asarray(pair.base)]).values
    return SceneFigures(
        prompt=pair.prompt,
        figures={},
        crops=np.empty((0, 0)),
        seen={name: values[0] for name, values in shown.items()},
    )


@torch.inference_mode()
def perceptual_distance(classifier: Classifier, one: Image.Image, other: Image.Image, tile_px: int) -> float:
    """Return the distance of two pictures in the classifier's feature maps, 0 for equal ones.

        Σ_l mean_hw Σ_c (x̂_l - ŷ_l)²,   x̂ = x / |x| over the channels of each place

    LPIPS (1801.03924, §3) without its learnt weights, over the maps after the first convolution and after
    every block. Both pictures are shown in tiles of `tile_px`, the side that the classifier was trained at.
    """
    device = next(classifier.parameters()).device
    x, y = (torch.from_numpy(to_sample(_tiles(image, tile_px))).to(device) for image in (one, other))
    total = 0.0
    for a, b in zip(classifier.maps(x), classifier.maps(y), strict=True):
        total += float((_unit(a) - _unit(b)).square().sum(dim=1).mean())
    return total


def mean_of(name: str) -> Callable[[Sequence[SceneFigures]], float]:
    """Return a function that computes the mean of one figure over scenes."""
    return lambda scenes: float(np.mean([scene.figures[name] for scene in scenes]))


def octave_share_of(number: int) -> Callable[[Sequence[SceneFigures]], float]:
    """Return a function: the energy of an octave over the truths', both summed over scenes.

    number: 1 for the finest octave.
    """

    def share(scenes: Sequence[SceneFigures]) -> float:
        true = sum(scene.figures[f"true energy {number}"] for scene in scenes)
        return sum(scene.figures[f"energy {number}"] for scene in scenes) / true if true else math.nan

    return share


def adherence_of(scenes: Sequence[SceneFigures]) -> float:
    """Return the share of pictures that show what their captions name, averaged over attributes."""
    return _adherence(scenes)[1]


def object_adherence_of(scenes: Sequence[SceneFigures]) -> float:
    """Return the share of pictures that show the object that their caption names; NaN if none names one."""
    return _adherence(scenes)[0].get("object", math.nan)


def seconds_of(scenes: Sequence[SceneFigures]) -> float:
    """Return the mean processor time over the scenes that were timed, NaN if none was."""
    timed = [scene.seconds for scene in scenes if scene.seconds is not None]
    return float(np.mean(timed)) if timed else math.nan


def frechet_from(truths: Mapping[int, np.ndarray]) -> Callable[[Sequence[SceneFigures]], float]:
    """Return a function: the Fréchet distance of scenes' crops from the truths' crops.

    truths: the features (C, F) of each scene's true crops by its prompt's number. Both sides
    have the same scenes and places, and nothing is extrapolated: 0 for the truth, never negative, comparable
    between methods measured on the same scenes.
    """

    def distance(scenes: Sequence[SceneFigures]) -> float:
        own = np.concatenate([scene.crops for scene in scenes])
        true = np.concatenate([truths[scene.prompt.number] for scene in scenes])
        return frechet_distance(Gaussian.fit(own), Gaussian.fit(true)) if len(own) > 1 else math.nan

    return distance


def jackknife(
    statistic: Callable[[Sequence[SceneFigures]], float], scenes: Sequence[SceneFigures]
) -> Estimate:
    """Return a statistic of scenes with its standard error from leaving out one scene at a time.

    √((n - 1)/n · Σ(θ₋ᵢ - mean)²) (Tukey 1958); for a mean this is the usual standard error. Scenes without
    which the statistic is undefined are skipped.
    """
    value = statistic(scenes) if scenes else math.nan
    if len(scenes) < 2 or not math.isfinite(value):
        return Estimate(value=value, error=None)
    without = [statistic([*scenes[:i], *scenes[i + 1 :]]) for i in range(len(scenes))]
    finite = np.array([each for each in without if math.isfinite(each)])
    if len(finite) < 2:
        return Estimate(value=value, error=None)
    spread = np.square(finite - finite.mean()).sum()
    return Estimate(value=value, error=float(math.sqrt((len(finite) - 1) / len(finite) * spread)))


def _adherence(scenes: Sequence[SceneFigures]) -> tuple[dict[str, float], float]:
    names = scenes[0].seen
    values = {name: [scene.seen[name] for scene in scenes] for name in names}
    return adherence([scene.prompt for scene in scenes], values)


def _tiles(image: Image.Image, side: int) -> np.ndarray:
    """Return evenly spaced tiles (N, side, side, 3) that cover a picture."""
    pixels = np.asarray(image)
    starts = [
        np.linspace(0, length - side, math.ceil(length / side)).round().astype(int)
        for length in pixels.shape[:2]
    ]
    return np.stack([pixels[y : y + side, x : x + side] for y in starts[0] for x in starts[1]])


def _unit(maps: torch.Tensor) -> torch.Tensor:
    maps = maps.float()
    return maps / maps.norm(dim=1, keepdim=True).clamp_min(_NORM_FLOOR)
