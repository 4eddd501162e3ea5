"""Pictures of several seeds that are drawn at once: each is what its seed gives alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gspn_core.cascade import walk
from gspn_core.engine import Engine
from gspn_core.errors import Stopped
from gspn_core.events import PictureDone, StageDone, StageStarted, StepDone
from gspn_core.planning.together import batch_peak_bytes, drawn_together
from gspn_core.settings import Settings

SETTINGS = Settings(prompt="a lake", seed=3, num_inference_steps=4, target=64, mixer="attention")
# Of 255; in float32 sums over more rows differ in their last bits.
TOLERANCE = 1


@pytest.fixture
def engine(sized_model) -> Engine:
    return Engine(sized_model)


def first_stage(engine, settings):
    plan = engine.plan(settings)
    return dataclasses.replace(plan, stages=plan.stages[:1])


def alone(engine, settings):
    (done,) = [e for e in engine.run(first_stage(engine, settings)) if isinstance(e, StageDone)]
    return done.image


def together(engine, settings, seeds):
    """Return the pictures by seed, and the events, of a run that draws others with it."""
    events = list(engine.run(first_stage(engine, settings), more_seeds=seeds))
    (own,) = [event for event in events if isinstance(event, StageDone)]
    others = {event.seed: event.done for event in events if isinstance(event, PictureDone)}
    return {settings.seed: own, **others}, events


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scheduler": "dpm++2m-sde"},
        {"scheduler": "lcm", "guidance_scale": 1.0},
        {"scheduler": "tcd"},
        {"scheduler": "unipc", "aspect": "3:2"},
        {"guidance_scale": 1.0},
        {"variation_seed": 8, "variation_strength": 0.4},
    ],
)
def test_each_picture_is_what_its_seed_gives_alone(engine, changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    drawn, events = together(engine, settings, (4, 5))
    assert list(drawn) == [3, 4, 5]
    for seed, done in drawn.items():
        expected = alone(engine, dataclasses.replace(settings, seed=seed))
        gap = np.abs(np.asarray(done.image, int) - np.asarray(expected, int)).max()
        assert gap <= TOLERANCE, (seed, gap)
        assert done.together == 3
    assert sum(isinstance(event, StepDone) for event in events) == events[0].plan.stages[0].steps
    pictures = [np.asarray(done.image) for done in drawn.values()]
    assert not np.array_equal(pictures[0], pictures[1])


def test_as_many_are_drawn_at_once_as_fit_into_memory(engine):
    plan = dataclasses.replace(first_stage(engine, SETTINGS), budget_bytes=10**15)
    sizes = (plan.stages[0].peak_bytes, *plan.stages[0].batch_bytes)
    assert list(sizes) == sorted(sizes)
    assert sizes[-1] > sizes[0]
    assert [drawn_together(plan, wanted) for wanted in (1, 3, 8)] == [1, 3, 8]
    tight = [dataclasses.replace(plan, budget_bytes=size) for size in (sizes[0] - 1, sizes[3], sizes[7])]
    assert drawn_together(tight[0], 8) == 1
    assert drawn_together(tight[1], 8) >= 4
    assert drawn_together(tight[2], 8) == 8
    assert batch_peak_bytes(plan, 8) == sizes[-1]
    assert batch_peak_bytes(tight[0], 8) == sizes[0]


def test_one_is_drawn_at_a_time_where_the_stage_has_more_than_noise_to_begin_from(engine):
    refined = dataclasses.replace(SETTINGS, refiner="image")
    assert first_stage(engine, SETTINGS).stages[0].batch_bytes
    assert first_stage(engine, refined).stages[0].batch_bytes == ()
    assert drawn_together(first_stage(engine, refined), 8) == 1


def test_a_model_of_unknown_shapes_draws_one_at_a_time(tiny_model):
    drawn, _ = together(Engine(tiny_model), SETTINGS, (4, 5))
    assert list(drawn) == [3]


def test_where_memory_runs_out_the_run_goes_on_alone(engine, monkeypatch):
    sampled = walk.StageSampler.sample

    def scarce(self, z_ref, controls=(), *others):
        if any(others):
            raise MemoryError
        return sampled(self, z_ref, controls, *others)

    monkeypatch.setattr(walk.StageSampler, "sample", scarce)
    drawn, events = together(engine, SETTINGS, (4, 5))
    assert list(drawn) == [3]
    assert drawn[3].together == 1
    assert sum(isinstance(event, StageStarted) for event in events) == 2


def test_a_stop_ends_all_of_them_at_the_next_step(engine):
    steps = []

    def should_stop() -> bool:
        return len(steps) >= 2

    with pytest.raises(Stopped):
        for event in engine.run(first_stage(engine, SETTINGS), should_stop, more_seeds=(4, 5)):
            steps += [event] if isinstance(event, StepDone) else []
    assert len(steps) == 2
