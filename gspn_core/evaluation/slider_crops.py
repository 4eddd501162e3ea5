"""Draw the crops next to the sliders: `python -m gspn_core.evaluation.slider_crops`.

One prompt and one seed run through the cascade with each slider at both ends of its range, at its default and
at its neutral value, with the rest at default. The same square is cut of all pictures of a slider, where they
differ most.
"""

import argparse
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image

from gspn_core.backbones.model import Model
from gspn_core.engine import Engine
from gspn_core.errors import GspnError
from gspn_core.evaluation.progress import OnProgress, Progress
from gspn_core.events import StageDone
from gspn_core.files import write_text
from gspn_core.models.catalog import SUPERRES_FOLDER, model_folder
from gspn_core.models.loading import load_model
from gspn_core.settings import RANGES, Settings
from gspn_core.world import captions

# The sliders that the page shows first; they apply to the later stages of a cascade.
FRONT_SLIDERS = (
    "upscale_strength",
    "gaussian_sigma",
    "cosine_scale_1",
    "cosine_scale_2",
    "cosine_scale_3",
)
SLIDERS = (
    *FRONT_SLIDERS,
    "dilated_min_weight",
    "guidance_scale",
)
# Neutral values: all of the layout is kept, or the term that the slider weighs is off, others at default.
NEUTRAL: Mapping[str, float] = MappingProxyType(
    {
        "gaussian_sigma": 0.0,
        "cosine_scale_1": 0.0,
        "cosine_scale_2": RANGES["cosine_scale_2"].travel[-1],
        "cosine_scale_3": 0.0,
        "guidance_scale": 1.0,
    }
)
FOLDER = Path(__file__).parents[2] / "ui" / "form" / "crops"
INDEX = "index.json"
CROP_PX = 128
MOST_BYTES = 150_000
_QUALITIES = (92, 88, 84, 80, 75, 70, 60, 50, 40)
# Positions are tried at this distance; finer steps make no visible difference.
_STRIDE_PX = 8


@dataclass(frozen=True, kw_only=True)
class SliderCrops:
    """One slider's crops, cut at (top, left) px of its pictures, by ascending value."""

    name: str
    top: int
    left: int
    values: tuple[float, ...]
    crops: tuple[Image.Image, ...]


def slider_values(name: str, default: float) -> tuple[float, ...]:
    """Return a slider's ends, default and neutral value, ascending, without duplicates."""
    travel = RANGES[name].travel
    return tuple(sorted({travel[0], float(default), NEUTRAL.get(name, travel[0]), travel[-1]}))


def draw_slider_crops(
    model: Model, prompt: str, *, seed: int, target: int, on_progress: OnProgress, crop_px: int = CROP_PX
) -> list[SliderCrops]:
    """Run the cascade up to `target` px for every value of every slider and return the crops.

    Stages that runs share run once. Raises BadSetting for settings that cannot run.
    """
    engine = Engine(model)
    resolved = engine.plan(Settings(prompt=prompt, seed=seed, target=target)).settings
    asked = [(name, value) for name in SLIDERS for value in slider_values(name, getattr(resolved, name))]
    drawn: dict[str, Image.Image] = {}
    pictures: dict[str, dict[float, Image.Image]] = {name: {} for name in SLIDERS}
    for done, (name, value) in enumerate(asked):
        on_progress("slider crops", done, len(asked))
        settings = Settings(**{"prompt": prompt, "seed": seed, "target": target, name: value})
        pictures[name][value] = _last_picture(engine, settings, drawn)
    on_progress("slider crops", len(asked), len(asked))
    return [_cut(name, pictures[name], crop_px) for name in SLIDERS]


def _last_picture(engine: Engine, settings: Settings, drawn: dict[str, Image.Image]) -> Image.Image:
    """Return the last stage's picture; drawn: pictures by stage key, to which new ones are added."""
    plan = engine.plan(settings)
    finished = []
    for stage in plan.stages:
        if stage.key not in drawn:
            break
        finished.append(drawn[stage.key])
    if len(finished) < len(plan.stages):
        for event in engine.run(plan, previews=False, finished=finished):
            if isinstance(event, StageDone):
                drawn[event.stage.key] = event.image
    return drawn[plan.stages[-1].key]


def _cut(name: str, pictures: Mapping[float, Image.Image], crop_px: int) -> SliderCrops:
    values = tuple(sorted(pictures))
    ordered = [pictures[value] for value in values]
    top, left = most_different_place([np.asarray(picture) for picture in ordered], crop_px)
    box = (left, top, left + crop_px, top + crop_px)
    crops = tuple(picture.crop(box) for picture in ordered)
    return SliderCrops(name=name, top=top, left=left, values=values, crops=crops)


def most_different_place(pictures: Sequence[np.ndarray], crop_px: int) -> tuple[int, int]:
    """Return (top, left) of the square where neighbours in a list of pictures differ most.

    pictures: uint8 (H, W, 3) of one size. Each pair is normalised by its own largest difference, or one
    picture that differs everywhere would hide the differences of the others. Ties go to the first place.
    """
    H, W, _ = pictures[0].shape
    if min(H, W) < crop_px:
        raise ValueError(f"pictures of {W}×{H} px hold no square of {crop_px} px; draw larger ones.")
    tops, lefts = (np.arange(0, side - crop_px + 1, _STRIDE_PX) for side in (H, W))
    score = np.zeros((len(tops), len(lefts)))
    for one, other in zip(pictures, pictures[1:], strict=False):
        apart = np.abs(one.astype(np.int64) - other).sum(-1)
        sums = np.pad(apart, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        rows = sums[tops + crop_px] - sums[tops]
        inside = rows[:, lefts + crop_px] - rows[:, lefts]
        score += inside / max(inside.max(), 1)
    row, column = np.unravel_index(score.argmax(), score.shape)
    return int(tops[row]), int(lefts[column])


def write_crops(found: Sequence[SliderCrops], folder: Path, details: Mapping[str, Any]) -> int:
    """Write the crops as WebP with an index of them and of `details`; return the bytes of all crops.

    All have the highest quality with which they stay below MOST_BYTES together; earlier crops are removed.
    """
    crops = [crop for slider in found for crop in slider.crops]
    for quality in _QUALITIES:
        files = [_webp(crop, quality) for crop in crops]
        if sum(map(len, files)) < MOST_BYTES:
            break
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    content, sliders = iter(files), {}
    for slider in found:
        listed = []
        for value in slider.values:
            name = f"{slider.name}-{value:g}.webp"
            (folder / name).write_bytes(next(content))
            listed.append({"value": value, "file": name})
        sliders[slider.name] = {
            "top": slider.top,
            "left": slider.left,
            "neutral": NEUTRAL.get(slider.name),
            "crops": listed,
        }
    record = {**details, "quality": quality, "sliders": sliders}
    write_text(folder / INDEX, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return sum(map(len, files))


def _webp(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="WEBP", quality=quality, method=6)
    return buffer.getvalue()


def weights_hash(folder: Path) -> str:
    """Return a SHA-256 of the weights that a default run reads: names and bytes of the safetensors files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        if path.parent.name == SUPERRES_FOLDER:
            continue
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    description = __doc__.splitlines()[0]
    root = argparse.ArgumentParser(
        prog="python -m gspn_core.evaluation.slider_crops", description=description
    )
    root.add_argument("--out", type=Path, default=FOLDER, help="folder (default: where the page reads them)")
    root.add_argument("--model", default="world", help="a model's name or folder")
    root.add_argument("--prompt", default=captions.EXAMPLES[0], help="default: the world's first example")
    root.add_argument("--seed", type=int, default=7)
    root.add_argument("--target", type=int, default=512, help="side in px of the pictures that are cut")
    root.add_argument("--device", default="auto")
    root.add_argument("--dtype", default="auto")
    root.add_argument("--threads", type=int, default=2)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code."""
    root = parser()
    given = root.parse_args(arguments)
    torch.set_num_threads(given.threads)
    try:
        model = load_model(given.model, device=given.device, dtype=given.dtype)
        found = draw_slider_crops(
            model, given.prompt, seed=given.seed, target=given.target, on_progress=Progress()
        )
    except GspnError as error:
        root.exit(1, f"{error}\n")
    details = {
        "model": {
            "name": model.card.name,
            "title": model.card.title,
            "sha256": weights_hash(model_folder(given.model)),
        },
        "prompt": given.prompt,
        "seed": given.seed,
        "target": given.target,
        "crop_px": CROP_PX,
    }
    size = write_crops(found, given.out, details)
    print(f"{sum(len(slider.crops) for slider in found)} crops, {size / 1e3:.0f} kB: {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
