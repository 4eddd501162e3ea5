"""Measures the embedded model: makes the pictures first, then their figures."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gspn_core.backbones.model import Model
from gspn_core.errors import BadSetting
from gspn_core.evaluation.coding import reconstruct
from gspn_core.evaluation.crops import ENLARGED, cut, enlarge
from gspn_core.evaluation.figures import (
    DECODED,
    TRUTH,
    Figures,
    add_adherence,
    add_frechet,
    mean_structure,
    structure,
)
from gspn_core.evaluation.gallery import Gallery
from gspn_core.evaluation.progress import OnProgress
from gspn_core.evaluation.prompts import Prompt, held_out_prompts
from gspn_core.evaluation.renders import Renders, save_image
from gspn_core.metrics.arrays import to_size
from gspn_core.metrics.classifier import Classifier, look
from gspn_core.metrics.fidelity import psnr
from gspn_core.settings import Mixer

RECONSTRUCTED = 64


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """How much is measured.

    pictures: base pictures per mixer; cascades: how many of them are upscaled to `target` px; crops: squares
    cut of each larger picture (both: one number, or one per larger size); references: renders of other scenes
    at each size. asked: settings by name in place of the model's defaults.
    """

    mixers: tuple[Mixer, ...] = ("attention", "gspn")
    pictures: int = 256
    cascades: tuple[int, ...] = (64,)
    target: int = 1024
    crops: tuple[int, ...] = (4,)
    references: int = 512
    asked: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 8
    processes: int = 2
    seed: int = 0


class Evaluation:
    """Measures one model; `figures` fills up as it goes."""

    def __init__(
        self, model: Model, classifier: Classifier, work: Path, config: MeasureConfig, on_progress: OnProgress
    ) -> None:
        card = model.card
        sides = [px for px in card.targets if px <= config.target]
        if config.target not in sides:
            offered = ", ".join(map(str, card.targets))
            raise BadSetting("target", f"{card.title} reaches {offered} px, got {config.target}; name one.")
        self.model, self.classifier, self.config, self.on_progress = model, classifier, config, on_progress
        self.base_px, self.larger = sides[0], tuple(sides[1:])
        self.cascades = self._per_size("cascades", most=config.pictures, least=2)
        self.crops = self._per_size("crops")
        if [*self.cascades.values()] != sorted(self.cascades.values(), reverse=True):
            counts = ", ".join(map(str, config.cascades))
            raise BadSetting(
                "cascades", f"a larger size must not have more cascades, got {counts}; let it fall."
            )
        self.mixers = tuple(mixer for mixer in config.mixers if mixer in card.mixers)
        # Plain enlargement is compared with the default mixer.
        self.enlarged_mixer = next((mixer for mixer in card.mixers if mixer in self.mixers), None)
        if self.enlarged_mixer is None:
            raise BadSetting("mixers", f"{card.title} has none of {', '.join(config.mixers)}; name others.")
        self.prompts = held_out_prompts(config.pictures, seed=config.seed)
        self.gallery = Gallery(
            work / "pictures", model, asked=config.asked, batch=config.batch, on_progress=on_progress
        )
        self.renders = Renders(
            work, crop_px=self.base_px, processes=config.processes, seed=config.seed, on_progress=on_progress
        )
        self.figures: Figures = {}
        self._reference_features: dict[int, np.ndarray] = {}

    def run(self) -> Iterator[str]:
        """Measure part by part; yield the name of each finished part."""
        self._measure_base()
        yield "base pictures"
        self._measure_autoencoder(self.base_px)
        yield "autoencoder"
        for mixer in self.mixers:
            self._draw_cascades(mixer)
        for px in self.larger:
            self._measure_larger(px)
            self._measure_autoencoder(px)
            yield f"pictures of {px} px"

    def with_settings(self, asked: Mapping[str, Any]) -> "Evaluation":
        """Return the same measurement with other settings, sharing the renders and their figures."""
        other = copy(self)
        other.config, other.figures = replace(self.config, asked=asked), {}
        other.gallery = Gallery(
            self.gallery.folder,
            self.model,
            asked=asked,
            batch=self.config.batch,
            on_progress=self.on_progress,
        )
        return other

    def few(self, px: int) -> Sequence[Prompt]:
        """Return the prompts whose pictures are upscaled to a larger size."""
        return self.prompts[: self.cascades[px]]

    def last_pairs(self, mixer: Mixer) -> float:
        """Return how many guidance pairs the last stage of a cascade runs through the UNet."""
        plan = self.gallery.plan(self.prompts[0], mixer, self.larger[-1])
        return self.gallery.engine.model_calls(plan.stages[-1])

    def measure_last(self, source: str) -> dict[str, float]:
        """Measure the largest pictures of one source; those of a mixer are drawn first."""
        px = self.larger[-1]
        if source in self.mixers:
            self.gallery.draw_cascades(self.few(px), source, px)
        self._draw_renders(px)
        self._measure_source(source, px)
        return {
            name: value for (name, whose, at), value in self.figures.items() if (whose, at) == (source, px)
        }

    def measure_files(self, folder: Path) -> None:
        """Add the size in MB of all files of the model's folder."""
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        self.figures["megabytes", "model", self.base_px] = size / 1e6

    def picture(self, source: str, prompt: Prompt, px: int) -> Image.Image:
        """Return a prompt's picture of a source: a mixer, an enlargement or the renders."""
        if source == TRUTH:
            return self.renders.view(prompt, px)
        if source == DECODED:
            return self._decoded(prompt, px)
        if source in ENLARGED:
            return enlarge(self.picture(self.enlarged_mixer, prompt, self.base_px), px, source)
        return self.gallery.picture(prompt, source, px)

    def sheet_rows(self, count: int) -> tuple[list[str], list[tuple[str, list[Image.Image]]]]:
        """Return the labels and rows of a contact sheet: bases, the same crop of all, renders."""
        px = min(self.larger[-1], 4 * self.base_px) if self.larger else None
        shown = self.few(px) if px else self.prompts
        labels = [f"{source}, {self.base_px} px" for source in (*self.mixers, TRUTH)]
        if px:
            labels += [f"{source}, of {px} px" for source in (*self.mixers, "bicubic", TRUTH)]
        rows = []
        for prompt in shown[:count]:
            row = [self.picture(source, prompt, self.base_px) for source in (*self.mixers, TRUTH)]
            if px:
                row += [
                    Image.fromarray(next(self._crops(source, (prompt,), px)))
                    for source in (*self.mixers, "bicubic", TRUTH)
                ]
            rows.append((prompt.text, row))
        return labels, rows

    def _per_size(self, name: str, *, most: int | None = None, least: int = 1) -> dict[int, int]:
        """Return a setting's numbers by larger size."""
        given, sizes = getattr(self.config, name), len(self.larger)
        if not sizes:
            return {}
        if len(given) not in (1, sizes):
            raise BadSetting(name, f"{name} must be one number or {sizes}, one per size, got {len(given)}.")
        if not all(least <= count and (most is None or count <= most) for count in given):
            bound = f"be at least {least}" if most is None else f"be between {least} and the {most} pictures"
            raise BadSetting(name, f"{name} must {bound}, got {', '.join(map(str, given))}.")
        return dict(zip(self.larger, given * (sizes if len(given) == 1 else 1), strict=True))

    def _draw_cascades(self, mixer: Mixer) -> None:
        for px in reversed(self.larger):
            self.gallery.draw_cascades(self.few(px), mixer, px)

    def _measure_base(self) -> None:
        px = self.base_px
        self.renders.draw_references(self.config.references, px)
        self.renders.draw_views(self.prompts, px)
        for mixer in self.mixers:
            self.gallery.draw_bases(self.prompts, mixer)
        references = self._references(px)
        for source in (*self.mixers, TRUTH):
            seen = look(self.classifier, (np.asarray(self.picture(source, p, px)) for p in self.prompts))
            add_adherence(self.figures, source, px, self.prompts, seen)
            add_frechet(self.figures, source, px, seen, references)

    def _measure_larger(self, px: int) -> None:
        self._draw_renders(px)
        for source in (*self.mixers, *ENLARGED, DECODED, TRUTH):
            self._measure_source(source, px)

    def _draw_renders(self, px: int) -> None:
        self.renders.draw_references(self.config.references, px)
        for side in (self.base_px, px):
            self.renders.draw_views(self.few(px), side)

    def _measure_source(self, source: str, px: int) -> None:
        """Add the figures of the larger pictures of one source."""
        few = self.few(px)
        seen = look(self.classifier, self._crops(source, few, px))
        add_frechet(self.figures, source, px, seen, self._references(px), group=self.crops[px])
        shrunk = (to_size(self.picture(source, p, px), self.base_px, self.base_px) for p in few)
        seen = look(self.classifier, map(np.asarray, shrunk))
        add_adherence(self.figures, source, px, few, seen)
        for name, value in mean_structure(self._structures(source, px)).items():
            self.figures[name, source, px] = value

    def _structures(self, source: str, px: int) -> Iterator[dict[str, float]]:
        tile_px = self.model.card.vae_tile_px
        for done, prompt in enumerate(self.few(px)):
            self.on_progress(f"structure of {source} {px}", done, self.cascades[px])
            base = self.picture(self._base_of(source), prompt, self.base_px)
            yield structure(self.picture(source, prompt, px), base, tile_px if px > tile_px else None)

    def _base_of(self, source: str) -> str:
        return self.enlarged_mixer if source in ENLARGED else source

    def _crops(self, source: str, prompts: Sequence[Prompt], px: int) -> Iterator[np.ndarray]:
        for prompt in prompts:
            yield from cut(self.picture(source, prompt, px), prompt.number, self.base_px, self.crops[px])

    def _decoded(self, prompt: Prompt, px: int) -> Image.Image:
        """Return a prompt's render encoded and decoded by the autoencoder, cached."""
        folder = self.renders.folder / f"decoded-{px}-{self.model.card.fingerprint}"
        path = folder / f"{prompt.number:05d}.png"
        if not path.is_file():
            save_image(reconstruct(self.model, self.renders.view(prompt, px)), path)
        with Image.open(path) as image:
            return image.convert("RGB")

    def _references(self, px: int) -> np.ndarray:
        if px not in self._reference_features:
            pictures = self.renders.references(self.config.references, px)
            self._reference_features[px] = look(self.classifier, pictures).features
        return self._reference_features[px]

    def _measure_autoencoder(self, px: int) -> None:
        """Add the PSNR of reference renders of `base_px` out of views of `px`, encoded and decoded."""
        count = min(RECONSTRUCTED, self.config.references)
        found = []
        for done, picture in zip(
            range(count), self.renders.references(self.config.references, px), strict=False
        ):
            self.on_progress(f"autoencoder {px}", done, count)
            rendered = Image.fromarray(picture)
            found.append(psnr(reconstruct(self.model, rendered), rendered))
        self.figures["psnr", "vae", px] = float(np.mean(found))
