"""The effect of each slider of the cascade over its whole range, with all others at their defaults."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from gspn_core.backbones.model import Model
from gspn_core.errors import BadSetting
from gspn_core.evaluation.figures import Bar
from gspn_core.evaluation.gallery import Gallery
from gspn_core.evaluation.pairs import MOST_DB
from gspn_core.evaluation.progress import OnProgress
from gspn_core.evaluation.prompts import Prompt, adherence, held_out_prompts
from gspn_core.evaluation.slider_crops import FRONT_SLIDERS
from gspn_core.metrics.arrays import to_size
from gspn_core.metrics.classifier import Classifier, look
from gspn_core.metrics.fidelity import psnr
from gspn_core.metrics.spectra import octave_energy
from gspn_core.metrics.structure import consistency
from gspn_core.runtime.version import code_version
from gspn_core.settings import RANGES, Mixer

# Above these, no difference is visible between the ends of a slider, or between neighbouring values.
MOST_ENDS_DB, MOST_NEIGHBOURS_DB = 30.0, 40.0


@dataclass(frozen=True, kw_only=True)
class SliderConfig:
    """Which sliders are measured, at how many `values`, for how many `prompts`, up to `target` px.

    mixer: None for the model's first.
    """

    sliders: tuple[str, ...] = FRONT_SLIDERS
    values: int = 5
    prompts: int = 4
    target: int = 1024
    mixer: Mixer | None = None
    batch: int = 8
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class SliderRow:
    """The effect of one slider; dB are PSNR, means over prompts.

    neighbours: between each value and the next; least: the lowest of any prompt and pair; ends: between the
    first and the last value. amplitude: root mean square of the finest octave in levels of 255; consistency:
    dB against the base; adherence: share of what captions name. These three have one entry per value.
    """

    name: str
    values: tuple[float, ...]
    neighbours: tuple[float, ...]
    least: float
    ends: float
    amplitude: tuple[float, ...]
    consistency: tuple[float, ...]
    adherence: tuple[float, ...]

    @property
    def bars(self) -> tuple[Bar, Bar]:
        """Return the required effect: a visible difference of the ends, a small one of neighbours."""
        return (
            Bar(
                name=f"{self.name}, ends",
                value=self.ends,
                sense="at most",
                limit=MOST_ENDS_DB,
                unit=" dB",
            ),
            Bar(
                name=f"{self.name}, the nearest neighbours",
                value=max(self.neighbours),
                sense="at most",
                limit=MOST_NEIGHBOURS_DB,
                unit=" dB",
            ),
        )


def slider_travel(name: str, count: int) -> tuple[float, ...]:
    """Return `count` values of a slider, evenly spaced along its track and rounded to its steps.

    Raises:
        BadSetting: the setting has no range, or count is less than 2.
    """
    if name not in RANGES:
        raise BadSetting("sliders", f"{name!r} has no range; choose from {', '.join(FRONT_SLIDERS)}.")
    if count < 2:
        raise BadSetting("values", f"a slider has two ends, got {count} values; ask for 2 or more.")
    bounds = RANGES[name]
    stops = bounds.travel
    at = np.interp(np.linspace(0, len(stops) - 1, count), np.arange(len(stops)), stops)
    steps = np.round((at - bounds.minimum) / bounds.step)
    values = np.minimum(bounds.minimum + steps * bounds.step, bounds.maximum)
    return tuple(sorted({round(float(value), 9) for value in values}))


class Sliders:
    """Draws and measures sliders one at a time; pictures are cached by stage and version of the code.

    Base pictures are drawn once per prompt and passed to the engine as finished; only later stages run.
    """

    def __init__(
        self, model: Model, classifier: Classifier, work: Path, config: SliderConfig, on_progress: OnProgress
    ) -> None:
        """Raises BadSetting for a target without later stages, for no prompts and for unknown sliders."""
        card = model.card
        if config.target not in card.targets[1:]:
            offered = ", ".join(map(str, card.targets[1:]))
            raise BadSetting(
                "target", f"{card.title} has targets of {offered} px, got {config.target}; name one."
            )
        if config.prompts < 1:
            raise BadSetting("prompts", f"a slider needs a prompt to be seen on, got {config.prompts}.")
        self.travel = {name: slider_travel(name, config.values) for name in config.sliders}
        self.model, self.classifier, self.config, self.on_progress = model, classifier, config, on_progress
        self.mixer = config.mixer or card.mixers[0]
        self.prompts = held_out_prompts(config.prompts, seed=config.seed)
        self.folder = work / "sliders" / code_version()

    def run(self) -> Iterator[SliderRow]:
        """Yield a row for each slider."""
        self._gallery({}).draw_bases(self.prompts, self.mixer)
        for name, values in self.travel.items():
            yield self._row(name, values)

    def _row(self, name: str, values: tuple[float, ...]) -> SliderRow:
        galleries = [self._gallery({name: value}) for value in values]
        for gallery in galleries:
            gallery.draw_cascades(self.prompts, self.mixer, self.config.target)
        found = [self._of_prompt(prompt, galleries) for prompt in self.prompts]
        pairs = [prompt["neighbours"] for prompt in found]
        return SliderRow(
            name=name,
            values=values,
            neighbours=_means(pairs),
            least=min(map(min, pairs)),
            ends=fmean(prompt["ends"][0] for prompt in found),
            amplitude=tuple(map(math.sqrt, _means([prompt["energy"] for prompt in found]))),
            consistency=_means([prompt["consistency"] for prompt in found]),
            adherence=tuple(self._adherence(gallery) for gallery in galleries),
        )

    def _of_prompt(self, prompt: Prompt, galleries: Sequence[Gallery]) -> Mapping[str, list[float]]:
        """Return the measurements of one prompt's pictures at all values."""
        base = galleries[0].picture(prompt, self.mixer, self.model.card.base_px)
        pictures = [gallery.picture(prompt, self.mixer, self.config.target) for gallery in galleries]
        return {
            "neighbours": [_decibels(*pair) for pair in zip(pictures, pictures[1:], strict=False)],
            "ends": [_decibels(pictures[0], pictures[-1])],
            "energy": [octave_energy(picture) for picture in pictures],
            "consistency": [min(consistency(picture, base), MOST_DB) for picture in pictures],
        }

    def _adherence(self, gallery: Gallery) -> float:
        side = self.model.card.base_px
        pictures = (gallery.picture(prompt, self.mixer, self.config.target) for prompt in self.prompts)
        seen = look(self.classifier, (np.asarray(to_size(picture, side, side)) for picture in pictures))
        return adherence(self.prompts, seen.values)[1]

    def _gallery(self, asked: Mapping[str, float]) -> Gallery:
        return Gallery(
            self.folder, self.model, asked=asked, batch=self.config.batch, on_progress=self.on_progress
        )


def _decibels(one: Image.Image, other: Image.Image) -> float:
    return min(psnr(one, other), MOST_DB)


def _means(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(map(fmean, zip(*rows, strict=True)))
