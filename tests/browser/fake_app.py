"""The page over an engine that paints hills with Pillow: real jobs, real events, no model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gspn_core.errors import Stopped
from gspn_core.events import (
    CascadeDone,
    Event,
    MemorySample,
    PlanReady,
    StageDone,
    StageStarted,
    StepDone,
    StepWeights,
)
from gspn_core.jobs.worker import Jobs
from gspn_core.plan import ModelCard, make_plan
from gspn_core.settings import Settings
from ui.page import build_page, launch_arguments

CARD = ModelCard(
    name="world",
    title="World",
    description="A small model of landscapes: mountains, hills, dunes, lakes, meadows, pines; any hour.",
    base_px=256,
    size_multiple=64,
    max_target_px=2048,
    default_target_px=1024,
    num_inference_steps=12,
    guidance_scale=4.0,
    upscale_strength=0.35,
    mixers=("gspn", "attention"),
    vocabulary_hint="it draws landscapes",
    examples=(
        "snowy mountains over a lake at dusk, a few clouds, low sun",
        "green hills at dawn",
        "red dunes at night under the moon",
        "pines before rocky mountains by day",
    ),
)


def paint(settings: Settings, height: int, width: int) -> Image.Image:
    """Return a picture that depends on the seed, the sigma and the size."""
    seed = settings.seed or 0
    small = Image.new("RGB", (64, 64))
    draw = ImageDraw.Draw(small)
    for y in range(64):
        draw.line([(0, y), (64, y)], fill=(90 + 2 * y, 70 + y, 130 - y))
    draw.ellipse([38, 10 + seed % 8, 50, 22 + seed % 8], fill=(255, 214, 150))
    image = small.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for layer in range(3):
        base = height * (0.5 + 0.14 * layer)
        points = [
            (0, height),
            *(
                (width * i / 24, base - height * 0.06 * ((seed * 31 + layer * 97 + i * i * 7) % 13) / 13)
                for i in range(25)
            ),
            (width, height),
        ]
        draw.polygon(points, fill=(120 - 34 * layer, 74 - 18 * layer, 78 - 14 * layer))
    return image.filter(ImageFilter.GaussianBlur(settings.gaussian_sigma * width / 1024))


def run(pause: float) -> Callable[[Settings, Callable[[], bool]], Iterator[Event]]:
    """Return an engine's run that takes `pause` seconds a step."""

    def go(settings: Settings, should_stop: Callable[[], bool]) -> Iterator[Event]:
        plan = make_plan(settings, CARD)
        yield PlanReady(plan=plan)
        for stage in plan.stages:
            n, size = stage.steps, stage.size
            weights = tuple(
                StepWeights(timestep=900.0 - i, c1=(1 - i / n) ** 3, c2=1 - i / n, c3=1 - i / n, dilated=True)
                for i in range(0 if stage.is_base else n)
            )
            yield StageStarted(stage=stage, weights=weights, model_calls=n + len(weights))
            peak = 600_000_000 + size.pixels * 220
            for step in range(1, n + 1):
                if should_stop():
                    raise Stopped("The run was stopped.")
                time.sleep(pause)
                memory = MemorySample(
                    kind="process",
                    now_bytes=peak - 90_000_000 * (step % 2),
                    peak_bytes=peak,
                    total_bytes=8 << 30,
                )
                preview = paint(settings, 96, max(1, 96 * size.width // size.height))
                yield StepDone(
                    stage=stage.index,
                    step=step,
                    steps=n,
                    seconds=step * pause,
                    memory=memory,
                    preview=preview,
                )
            if settings.prompt.endswith("fail") and stage.index == 2:
                raise RuntimeError("the fake engine was asked to fail")
            image = paint(settings, size.height, size.width)
            yield StageDone(stage=stage, image=image, seconds=n * pause, memory=memory)
        yield CascadeDone(seconds=1.0)

    return go


def main(port: int, folder: str, pause: float) -> None:
    """Serve the page until the process ends."""
    jobs = Jobs(run(pause), folder, plan=lambda settings: make_plan(settings, CARD))
    page = build_page(jobs, CARD, machine=lambda: "CPU, 2 cores")
    page.launch(server_port=port, **launch_arguments(jobs.folder))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
