"""Compares methods that upscale true pictures: the loop over scenes and methods, and its table."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from gspn_core.backbones.model import Model
from gspn_core.errors import BadSetting
from gspn_core.evaluation.figures import TRUTH
from gspn_core.evaluation.methods import (
    AUTOENCODER,
    BICUBIC,
    CASCADE,
    HIRES,
    Method,
    Variant,
    chosen,
    make_methods,
)
from gspn_core.evaluation.pairs import (
    MEANS,
    Estimate,
    SceneFigures,
    ScenePair,
    adherence_of,
    frechet_from,
    jackknife,
    mean_of,
    measure_base,
    measure_picture,
    object_adherence_of,
    octave_count,
    octave_share_of,
    seconds_of,
)
from gspn_core.evaluation.progress import OnProgress
from gspn_core.evaluation.prompts import held_out_prompts
from gspn_core.evaluation.renders import Renders, save_image
from gspn_core.evaluation.upscaler import Upscaler
from gspn_core.files import write_json
from gspn_core.metrics.classifier import Classifier
from gspn_core.metrics.spectra import busiest_place


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """What is compared.

    Args:
        scenes: how many held-out scenes.
        target: side of the results in px.
        crops: squares cut of each picture for the Fréchet distance.
        hires: denoising strengths of image to image.
        variants: cascades with other settings.
        methods: names of the methods to compare, () for all.
        processes: that render.
        seed: of the scenes.
    """

    scenes: int = 32
    target: int = 1024
    crops: int = 4
    hires: tuple[float, ...] = (0.25, 0.4)
    variants: tuple[Variant, ...] = ()
    methods: tuple[str, ...] = ()
    processes: int = 2
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """A method's figures over scenes, by name."""

    name: str
    figures: Mapping[str, Estimate]


@dataclass(kw_only=True)
class Drawings:
    """Pictures made by methods, cached on disk by everything that they depend on, each with its seconds.

    A method's first picture in a process warms it up and is not timed.
    """

    folder: Path
    warm: set[str] = field(default_factory=set)

    def picture(self, method: Method, pair: ScenePair) -> tuple[Image.Image, float | None]:
        """Return a method's picture of a scene, from the cache if it is there, and its processor seconds."""
        key = method.key(pair)
        path = self.folder / method.name.replace(" ", "-").replace("/", "-") / f"{key}.png"
        if not path.is_file():
            self._draw(method, pair, path)
        with Image.open(path) as image:
            return image.convert("RGB"), json.loads(path.with_suffix(".json").read_text("utf-8"))["seconds"]

    def _draw(self, method: Method, pair: ScenePair, path: Path) -> None:
        began = time.process_time()
        image = method.draw(pair)
        seconds = time.process_time() - began
        record = {
            "method": method.name,
            "prompt": pair.prompt.text,
            "number": pair.prompt.number,
            "seconds": seconds if method.name in self.warm else None,
        }
        self.warm.add(method.name)
        write_json(path.with_suffix(".json"), record)
        # Last, so that every picture has its record.
        save_image(image, path)


class Comparison:
    """Compares methods scene by scene in one process; `found` fills up as it goes."""

    def __init__(
        self,
        model: Model,
        classifier: Classifier,
        work: Path,
        config: ComparisonConfig,
        on_progress: OnProgress,
        upscaler: Upscaler | None = None,
    ) -> None:
        """Raises BadSetting for a target not above the base size, too few scenes and unknown methods."""
        card = model.card
        reached = [px for px in card.targets if px > card.base_px]
        if config.target not in reached:
            offered = ", ".join(map(str, reached))
            raise BadSetting(
                "target", f"{card.title} has targets of {offered} px, got {config.target}; name one."
            )
        if config.scenes < 2 or config.crops < 1:
            raise BadSetting(
                "scenes",
                f"a spread needs 2 scenes and 1 crop at least, got {config.scenes} and {config.crops}; "
                "ask for more.",
            )
        self.model, self.classifier, self.config, self.on_progress = model, classifier, config, on_progress
        every = make_methods(
            model, config.target, hires=config.hires, variants=config.variants, upscaler=upscaler
        )
        self.methods = chosen(every, config.methods)
        self.prompts = held_out_prompts(config.scenes, seed=config.seed)
        self._megapixels: dict[str, float] = {}
        self._check_plans()
        self.renders = Renders(
            work, crop_px=card.base_px, processes=config.processes, seed=config.seed, on_progress=on_progress
        )
        self.drawings = Drawings(folder=work / "climb" / f"{config.target}")
        self.found: dict[str, list[SceneFigures]] = {name: [] for name in self.names}
        self._bases: list[SceneFigures] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Return the sources of pictures: the methods, then the truth."""
        return (*(method.name for method in self.methods), TRUTH)

    def run(self) -> Iterator[int]:
        """Measure one scene after another; yield how many are done."""
        for px in (self.model.card.base_px, self.config.target):
            self.renders.draw_views(self.prompts, px)
        for done in range(len(self.prompts)):
            self.on_progress("scenes", done, len(self.prompts))
            self._measure(self.pair(done))
            yield done + 1
        self.on_progress("scenes", len(self.prompts), len(self.prompts))

    def pair(self, place: int) -> ScenePair:
        """Return the renders of a scene at both sizes."""
        prompt, base_px = self.prompts[place], self.model.card.base_px
        return ScenePair(
            prompt=prompt,
            base=self.renders.view(prompt, base_px),
            truth=self.renders.view(prompt, self.config.target),
        )

    def rows(self) -> tuple[MethodRow, ...]:
        """Return a row per method over the scenes measured so far, the truth last."""
        truths = {scene.prompt.number: scene.crops for scene in self.found[TRUTH]}
        return tuple(
            _row(name, self.found[name], truths, self.octaves, self._megapixels.get(name))
            for name in self.names
        )

    @property
    def octaves(self) -> int:
        """Return how many octaves are compared."""
        return octave_count(self.model.card.base_px, self.config.target)

    def bases(self) -> tuple[Estimate, Estimate]:
        """Return the adherence of the true base pictures, and that of their objects."""
        return jackknife(adherence_of, self._bases), jackknife(object_adherence_of, self._bases)

    def sheet_rows(self, count: int) -> tuple[list[str], list[tuple[str, list[Image.Image]]]]:
        """Return the labels and rows of a crop sheet: 1:1 crops where the truth has the most detail."""
        side = self.model.card.base_px
        shown = self._shown()
        rows = []
        for place in range(min(count, len(self.found[TRUTH]))):
            pair = self.pair(place)
            top, left = busiest_place(pair.truth, side)
            pictures = [pair.truth, *(self.drawings.picture(method, pair)[0] for method in shown)]
            crops = [picture.crop((left, top, left + side, top + side)) for picture in pictures]
            rows.append((pair.prompt.text, crops))
        return ["truth", *(method.name for method in shown)], rows

    def _shown(self) -> list[Method]:
        """Return the first method of each kind, in the order of the sheet."""
        kinds = AUTOENCODER, CASCADE, BICUBIC, HIRES
        first = (next((m for m in self.methods if m.name.startswith(kind)), None) for kind in kinds)
        return [method for method in first if method is not None]

    def _check_plans(self) -> None:
        """Raise BadSetting if a method cannot be planned."""
        base, truth = (
            Image.new("RGB", (side, side)) for side in (self.model.card.base_px, self.config.target)
        )
        pair = ScenePair(prompt=self.prompts[0], base=base, truth=truth)
        for method in self.methods:
            method.depends_on(pair)
            self._megapixels[method.name] = method.megapixels(pair)

    def _measure(self, pair: ScenePair) -> None:
        for method in self.methods:
            picture, seconds = self.drawings.picture(method, pair)
            self.found[method.name].append(self._figures(picture, pair, seconds))
        self.found[TRUTH].append(self._figures(pair.truth, pair, None))
        self._bases.append(measure_base(pair, self.classifier))

    def _figures(self, picture: Image.Image, pair: ScenePair, seconds: float | None) -> SceneFigures:
        return measure_picture(
            picture,
            pair,
            self.classifier,
            crops=self.config.crops,
            tile_px=self.model.card.vae_tile_px,
            seconds=seconds,
        )


def _row(
    name: str,
    scenes: Sequence[SceneFigures],
    truths: Mapping[int, np.ndarray],
    octaves: int,
    megapixels: float | None,
) -> MethodRow:
    statistics = {figure: mean_of(figure) for figure in MEANS} | {
        "frechet": frechet_from(truths),
        "adherence": adherence_of,
        "objects": object_adherence_of,
    }
    for number in range(1, octaves + 1):
        statistics[f"octave {number}"] = octave_share_of(number)
        statistics[f"coherence {number}"] = mean_of(f"coherence {number}")
    figures = {figure: jackknife(statistic, scenes) for figure, statistic in statistics.items()}
    timed = [scene for scene in scenes if scene.seconds is not None]
    figures["seconds"] = jackknife(seconds_of, timed)
    if megapixels is not None:
        figures["megapixels"] = Estimate(value=megapixels, error=None)
    return MethodRow(name=name, figures=figures)
