"""Redrawn regions and extended pictures of held-out scenes: what appears, what stays, what shows at the seam.

A scene that has an object is rendered without it; the place of the object is redrawn with the caption that
names it. And the render is extended at its left and right.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from gspn_core.backbones.model import Model
from gspn_core.controls.redraw_region import drawn_mask, feathered
from gspn_core.engine import Engine
from gspn_core.evaluation.comparison_report import shown
from gspn_core.evaluation.pairs import Estimate
from gspn_core.evaluation.progress import OnProgress
from gspn_core.evaluation.prompts import Prompt, held_out_prompts
from gspn_core.evaluation.report import table
from gspn_core.events import StageDone
from gspn_core.files import write_json
from gspn_core.images.extended import extended
from gspn_core.images.load import reference_of
from gspn_core.metrics.arrays import luma
from gspn_core.metrics.classifier import Classifier, look
from gspn_core.planning.types import StagePlan
from gspn_core.settings import Settings
from gspn_core.world.render.draw import render, thing_box
from gspn_core.world.scene import Scene

# A region is its object's box, larger by this share of the view at each side.
_ROOM = 0.04
# How far beyond the feather the two sides of an edge are compared.
_REACH_PX = 8


@dataclass(frozen=True, kw_only=True)
class RegionConfig:
    """How many scenes, and how they are redrawn.

    Args:
        scenes: held-out scenes whose caption names an object that is in the view.
        strength: denoising strength of a region.
        extend_strength: of what is added at the sides.
        extend: what that is, as the setting has it.
        feather: px over which either fades in.
        seed: of the scenes.
    """

    scenes: int = 32
    strength: float = 0.8
    extend_strength: float = 0.95
    extend: str = "left 25 right 25"
    feather: float = 16.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class RegionFigures:
    """What became of one scene.

    Args:
        number: the scene's.
        object: that its caption names.
        seen: the object that the classifier sees "before" in the render without it, once the region is
            "redrawn", with the region of an "img2img" of the whole pasted in, and in the "true" render.
        jumps: of luma across the region's edge, see `edge_jump`, of the last three.
        changed: px outside of the region that differ.
        extended_jumps: across the edge of what was added, "drawn" and as the canvas "mirrored" it.
        extended_changed: px of what was there before that differ.
    """

    number: int
    object: str
    seen: Mapping[str, str]
    jumps: Mapping[str, float]
    changed: int
    extended_jumps: Mapping[str, float]
    extended_changed: int


def object_prompts(count: int, seed: int) -> tuple[Prompt, ...]:
    """Return the first held-out prompts that name an object whose middle is in the view."""
    found: list[Prompt] = []
    drawn = 0
    while len(found) < count:
        drawn += max(16, count)
        found = [prompt for prompt in held_out_prompts(drawn, seed=seed) if _is_fit(prompt)]
    return tuple(found[:count])


def region_of(scene: Scene) -> str:
    """Return the region that holds a scene's object, with some room, as the setting has it."""
    top, left, bottom, right = thing_box(scene)
    top, left = max(0.0, top - _ROOM), max(0.0, left - _ROOM)
    bottom, right = min(1.0, bottom + _ROOM), min(1.0, right + _ROOM)
    return "box " + " ".join(f"{1000 * value:.1f}" for value in (left, top, right - left, bottom - top))


def edge_jump(picture: Image.Image, mask: np.ndarray, reach_px: int) -> float:
    """Return the mean difference of luma between the two sides of a mask's edge.

    Either side is the mean of the px within `reach_px` of the edge, along the line that crosses it; places
    that are nearer to the picture's border, or to another edge on that line, are left out.

    Args:
        picture: H × W px.
        mask: bool (H, W).
        reach_px: wider than a feather, which begins at the edge.
    """
    found = []
    is_inside = mask.astype(int)
    for values, inside in ((luma(picture), is_inside), (luma(picture).T, is_inside.T)):
        sums = np.pad(np.cumsum(values, axis=1, dtype=float), ((0, 0), (1, 0)))
        for line, at in zip(*np.nonzero(np.diff(inside, axis=1)), strict=True):
            edge, row = at + 1, inside[line]
            before, after = row[max(0, edge - reach_px) : edge], row[edge : edge + reach_px]
            if len(before) == len(after) == reach_px and np.ptp(before) == np.ptp(after) == 0:
                left, middle, right = sums[line, [edge - reach_px, edge, edge + reach_px]]
                found.append(abs((right - middle) - (middle - left)) / reach_px)
    return float(np.mean(found)) if found else 0.0


class Regions:
    """Redraws and measures one scene after the other; what a file has already is not drawn again."""

    def __init__(
        self, model: Model, classifier: Classifier, path: Path, config: RegionConfig, on_progress: OnProgress
    ) -> None:
        self.engine, self.classifier, self.path, self.config = Engine(model), classifier, path, config
        self.setting = {**asdict(config), "fingerprint": model.card.fingerprint}
        del self.setting["scenes"]
        self.px, self.on_progress = model.card.base_px, on_progress

    def run(self) -> Iterator[tuple[RegionFigures, ...]]:
        """Yield all figures so far, once for each scene; each time they are written to the file."""
        kept = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        same = kept.get("setting") == self.setting
        known = {row["number"]: RegionFigures(**row) for row in kept.get("rows", ()) if same}
        found: list[RegionFigures] = []
        for prompt in object_prompts(self.config.scenes, self.config.seed):
            found.append(known.get(prompt.number) or self.measure(prompt))
            rows = list(map(asdict, found))
            write_json(self.path, {"setting": self.setting, "rows": rows}, indent=1)
            self.on_progress("scenes", len(found), self.config.scenes)
            yield tuple(found)

    def measure(self, prompt: Prompt) -> RegionFigures:
        """Redraw a region of one scene, extend it, and return the figures of both."""
        config, scene = self.config, prompt.scene
        bare, true = (self._render(each) for each in (replace(scene, object="none"), scene))
        redrawn, stage = self._drawn(prompt, bare, region=region_of(scene), start_strength=config.strength)
        whole, _ = self._drawn(prompt, bare, start_strength=config.strength)
        mask = drawn_mask(stage)
        blend = feathered(mask.image, min(mask.thickness, config.feather))
        pictures = {"redrawn": redrawn, "img2img": Image.composite(whole, bare, blend), "true": true}
        seen = look(self.classifier, [np.asarray(image) for image in (bare, *pictures.values())]).values
        inside, reach = np.asarray(mask.image) > 0, round(config.feather) + _REACH_PX

        wide, stage = self._drawn(prompt, true, extend=config.extend, start_strength=config.extend_strength)
        canvas = extended(true, true.height, true.width, stage.margins)
        added = np.ones((wide.height, wide.width), bool)
        left, _, top, _ = stage.margins
        added[top : top + true.height, left : left + true.width] = False
        untouched = np.asarray(drawn_mask(stage).image) == 0
        return RegionFigures(
            number=prompt.number,
            object=scene.object,
            seen=dict(zip(("before", *pictures), seen["object"], strict=True)),
            jumps={name: edge_jump(image, inside, reach) for name, image in pictures.items()},
            changed=int((_differ(redrawn, bare) & ~inside).sum()),
            extended_jumps={
                "drawn": edge_jump(wide, added, reach),
                "mirrored": edge_jump(canvas, added, reach),
            },
            extended_changed=int((_differ(wide, canvas) & untouched).sum()),
        )

    def _render(self, scene: Scene) -> Image.Image:
        return Image.fromarray(render(scene, height=self.px, width=self.px))

    def _drawn(self, prompt: Prompt, start: Image.Image, **values: object) -> tuple[Image.Image, StagePlan]:
        """Return the picture that a run makes of an init image at its own size, and the stage's plan."""
        settings = Settings(
            prompt=prompt.text,
            seed=prompt.number,
            target=self.px,
            start=reference_of(start),
            region_feather=self.config.feather,
            **values,
        )
        plan = self.engine.plan(settings)
        events = self.engine.run(plan, previews=False, start=start)
        (image,) = (event.image for event in events if isinstance(event, StageDone))
        return image, plan.stages[0]


def regions_markdown(rows: Sequence[RegionFigures]) -> str:
    """Return the figures as tables: means with standard errors over scenes, and what stayed to the px."""
    names = {
        "before": "the render without the object",
        "redrawn": "**its region redrawn**",
        "img2img": "the region of an img2img, pasted in",
        "true": "the true render",
    }
    lines = [
        [
            title,
            _mean([100.0 * (row.seen[name] == row.object) for row in rows], 0),
            "–" if name == "before" else _mean([row.jumps[name] for row in rows], 1),
        ]
        for name, title in names.items()
    ]
    parts = [
        table(["picture", "object seen, %", "jump of luma across the region's edge"], lines),
        table(
            ["extended picture", "jump of luma across its edge"],
            [
                [title, _mean([row.extended_jumps[name] for row in rows], 1)]
                for name, title in (("drawn", "**drawn**"), ("mirrored", "mirrored and blurred alone"))
            ],
        ),
        f"{len(rows)} scenes. Every px outside of what was drawn is as before in "
        f"{_equal(rows, 'changed')} redrawn and {_equal(rows, 'extended_changed')} extended pictures.",
    ]
    return "\n\n".join(parts) + "\n"


def _is_fit(prompt: Prompt) -> bool:
    if prompt.scene.object == "none" or "object" not in prompt.named:
        return False
    top, left, bottom, right = thing_box(prompt.scene)
    return 0 <= (top + bottom) / 2 <= 1 and 0 <= (left + right) / 2 <= 1


def _differ(one: Image.Image, other: Image.Image) -> np.ndarray:
    return (np.asarray(one, int) - np.asarray(other, int)).any(2)


def _equal(rows: Sequence[RegionFigures], name: str) -> int:
    return sum(getattr(row, name) == 0 for row in rows)


def _mean(values: Sequence[float], digits: int) -> str:
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return shown(Estimate(value=float(np.mean(values)), error=error), digits, 1)
