"""The embedded few-step student as it ships: four calls without guidance, pictures that show their prompt."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from gspn_core.engine import Engine
from gspn_core.events import CascadeDone, StageDone, StepDone
from gspn_core.metrics.adherence import PromptAdherence
from gspn_core.models.catalog import FEW_STEP, WORLD, embedded_cards
from gspn_core.models.loading import load_model
from gspn_core.settings import Settings

PROMPTS = (
    "snowy mountains over a lake at dusk",
    "a sailboat on a lake by day, clear sky",
    "red cliffs in the desert at sunset",
    "green hills with a cabin by day",
)


@pytest.fixture(scope="module")
def engine():
    return Engine(load_model(FEW_STEP.name, dtype="float32"))


def events(engine, **changes):
    plan = engine.plan(Settings(prompt=changes.pop("prompt", PROMPTS[0]), seed=3, **changes))
    return plan, list(engine.run(plan, previews=False))


def test_it_is_offered_after_its_teacher():
    assert embedded_cards() == (WORLD, FEW_STEP)


def test_its_first_stage_takes_four_calls_of_one_row(engine, monkeypatch):
    rows = []
    forward = engine.model.pipeline.unet.forward

    def counted(sample, *given, **named):
        rows.append(len(sample))
        return forward(sample, *given, **named)

    monkeypatch.setattr(engine.model.pipeline.unet, "forward", counted)
    _, seen = events(engine, target=256)
    assert rows == [1, 1, 1, 1]
    assert sum(isinstance(event, StepDone) for event in seen) == 4


def test_its_pictures_show_what_their_prompts_name(engine):
    adherence = PromptAdherence()
    shares = []
    for prompt in PROMPTS:
        _, seen = events(engine, prompt=prompt, target=256)
        picture = next(event.image for event in seen if isinstance(event, StageDone))
        shares.append(adherence(prompt, picture))
    assert fmean(shares) >= 0.7


def test_it_takes_its_picture_on_to_a_larger_size(engine):
    plan, seen = events(engine, target=512, ladder="256 512")
    small, large = (event.image for event in seen if isinstance(event, StageDone))
    assert isinstance(seen[-1], CascadeDone) and large.size == (512, 512)
    assert plan.stages[1].steps == 2
    shrunk = np.asarray(large.resize(small.size), dtype=float)
    assert np.abs(shrunk - np.asarray(small, dtype=float)).mean() < 12
