"""A card and runs made by hand: the page's functions need neither a model nor a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from PIL import Image

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
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import ModelCard
from gspn_core.runs.reducer import apply_event, planned
from gspn_core.runs.run import RunView
from gspn_core.settings import Settings

MEMORY = MemorySample(kind="process", now_bytes=900_000_000, peak_bytes=1_600_000_000, total_bytes=8 * 10**9)


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        name="toy",
        title="Toy",
        description="draws toys",
        base_px=64,
        size_multiple=32,
        max_target_px=256,
        default_target_px=128,
        num_inference_steps=4,
        guidance_scale=4.0,
        upscale_strength=0.5,
        mixers=("gspn", "attention"),
        vocabulary_hint="it draws toys",
        examples=("a toy house", "a toy boat"),
    )


def run_events(settings: Settings, card: ModelCard) -> Iterator[Event]:
    """Yield the events of a run that paints one flat colour."""
    plan = make_plan(settings, card)
    yield PlanReady(plan=plan, model_calls=tuple(stage.steps for stage in plan.stages))
    for stage in plan.stages:
        weights = tuple(
            StepWeights(timestep=500.0 - i, c1=0.8 / (i + 1), c2=0.6, c3=0.5, dilated=False)
            for i in range(0 if stage.kind.name == "generate" else stage.steps)
        )
        yield StageStarted(stage=stage, weights=weights)
        for step in range(1, stage.steps + 1):
            preview = Image.new("RGB", (8, 8), (step * 20, 90, 60))
            yield StepDone(
                stage=stage.index,
                step=step,
                steps=stage.steps,
                seconds=0.5 * step,
                memory=MEMORY,
                preview=preview,
            )
        image = Image.new("RGB", (stage.size.width, stage.size.height), (200, 90, 60))
        yield StageDone(stage=stage, image=image, seconds=0.5 * stage.steps, memory=MEMORY)
    yield CascadeDone(seconds=3.0)


@pytest.fixture
def events_of(card: ModelCard) -> Callable[[Settings], Iterator[Event]]:
    """Return a function: the events of a run of these settings."""
    return lambda settings: run_events(settings, card)


@pytest.fixture
def view_after(card: ModelCard) -> Callable[..., RunView]:
    """Return a function: the view after so many events of a run (all by default)."""

    def view(count: int | None = None, **settings) -> RunView:
        asked = Settings(**{"prompt": "a toy house", "seed": 7, **settings})
        view = planned(RunView(id="j" * 22, created=1000.0), make_plan(asked, card))
        for i, event in enumerate(list(run_events(asked, card))[:count]):
            view = apply_event(view, event, elapsed_seconds=float(i))
        return view

    return view
