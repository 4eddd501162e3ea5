"""A model that paints at once, so that a drill is about everything else."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gspn_core.errors import Stopped
from gspn_core.events import (
    CascadeDone,
    Event,
    MemorySample,
    PlanReady,
    StageDone,
    StageStarted,
    StepDone,
)
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.settings import Settings

MEMORY = MemorySample(kind="process", now_bytes=900_000_000, peak_bytes=1_600_000_000, total_bytes=8 * 10**9)
CARD = ModelCard(
    name="toy",
    title="Toy",
    description="paints at once",
    base_px=64,
    size_multiple=32,
    max_target_px=512,
    default_target_px=256,
    num_inference_steps=3,
    guidance_scale=4.0,
    upscale_strength=0.5,
    mixers=("gspn", "attention"),
    examples=("a toy house", "a toy boat"),
)
STEP_SECONDS = 0.004


def plan_of(settings: Settings) -> CascadePlan:
    """Return the plan of a run of the toy."""
    return make_plan(settings, CARD)


def painted(stage: StagePlan) -> Image.Image:
    """Return a stage's picture, which its seed and size decide."""
    rng = np.random.default_rng([stage.settings.seed, stage.index])
    coarse = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((stage.size.width, stage.size.height), Image.Resampling.BICUBIC)


def paint(
    plan: CascadePlan,
    should_stop: Callable[[], bool],
    *,
    finished: Sequence[Image.Image] = (),
    step_seconds: float = STEP_SECONDS,
    **_: Any,
) -> Iterator[Event]:
    """Yield the events of a run, as `Engine.run` does."""
    yield PlanReady(plan=plan, model_calls=tuple(stage.steps for stage in plan.stages))
    for stage in plan.stages[len(finished) :]:
        yield StageStarted(stage=stage, weights=())
        for step in range(1, stage.steps + 1):
            if should_stop():
                raise Stopped("stopped")
            time.sleep(step_seconds)
            yield StepDone(
                stage=stage.index,
                step=step,
                steps=stage.steps,
                seconds=step_seconds * step,
                memory=MEMORY,
                preview=Image.new("RGB", (8, 8), (step * 20, 90, 60)),
            )
        yield StageDone(stage=stage, image=painted(stage), seconds=step_seconds * stage.steps, memory=MEMORY)
    yield CascadeDone(seconds=1.0)


def free_port() -> int:
    """Return a port of this machine that no one uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_bytes(process_id: int) -> int:
    """Return what a process holds in memory."""
    import psutil

    return psutil.Process(process_id).memory_info().rss


def tree(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match, in order."""
    return sorted(folder.rglob(pattern))
