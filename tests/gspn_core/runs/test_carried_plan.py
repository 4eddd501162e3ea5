"""A run keeps the plan that it was submitted with, even if the free memory changes before its turn."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gspn_core.cascade.sample import StageSampler
from gspn_core.engine import Engine
from gspn_core.errors import ModelUnavailable, OverBudget, Stopped
from gspn_core.events import StageDone
from gspn_core.images.load import digest
from gspn_core.images.png import read_picture
from gspn_core.planning.plan import make_plan, replanned
from gspn_core.planning.types import MemoryOptions
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings

# The refiner takes part in the first stage, which then needs more memory than the second one.
SMALL = Settings(prompt="a hill", seed=1, target=64, num_inference_steps=2, refiner="image")
LARGE = dataclasses.replace(SMALL, target=128)
PLENTY_BYTES = 2**40


class Budgeted(Engine):
    """An engine whose budget changes like free memory; `ran` has the plans that it ran."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.ran, self.budget_bytes = [], PLENTY_BYTES
        self._fixed = self.machine

    def plan(self, settings):
        machine = dataclasses.replace(self._fixed, budget_bytes=self.budget_bytes)
        return make_plan(settings, self.model.card, machine, self.model_calls)

    def run(self, plan, *arguments, **options):
        self.ran.append(plan)
        yield from super().run(plan, *arguments, **options)

    def short_bytes(self) -> int:
        """Return a budget in which every stage of LARGE fits, the first one computed in another way."""
        plenty = self.plan(LARGE)
        for budget in range(max(stage.peak_bytes for stage in plenty.stages), 0, -(2**14)):
            found = make_plan(
                LARGE,
                self.model.card,
                dataclasses.replace(self._fixed, budget_bytes=budget),
                self.model_calls,
            )
            if found.stages[0].key != plenty.stages[0].key:
                assert found.too_large is None
                return budget
        raise AssertionError("no budget changes the keys of this model")


@pytest.fixture
def engine(sized_model) -> Budgeted:
    shapes = sized_model.card.shapes
    wide = dataclasses.replace(shapes.unet, channels=tuple(64 * count for count in shapes.unet.channels))
    shapes = dataclasses.replace(shapes, refiner=wide)
    card = dataclasses.replace(sized_model.card, shapes=shapes)
    return Budgeted(dataclasses.replace(sized_model, card=card))


@pytest.fixture
def open_queue(tmp_path):
    opened = []

    def open_one(engine, **options) -> RunQueue:
        opened.append(
            RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan, **{"view_seconds": 0.0, **options})
        )
        return opened[-1]

    yield open_one
    for queue in opened:
        queue.close()


def end_of(queue: RunQueue, run_id: str):
    *_, view = queue.follow(run_id)
    assert view.state == "done", view.error
    return view


def keys(stages) -> list[str]:
    return [stage.key for stage in stages]


def test_pictures_are_kept_under_the_keys_of_the_plan_that_ran(engine, open_queue):
    short = engine.short_bytes()
    queue = open_queue(engine)
    base = end_of(queue, queue.submit(SMALL))
    planned = queue.plan(LARGE)
    with queue.device():
        run_id = queue.submit(LARGE)
        engine.budget_bytes = short
        other = queue.plan(LARGE)
        assert set(keys(other.stages)).isdisjoint(keys(planned.stages))
    view = end_of(queue, run_id)
    assert [stage.reused for stage in view.stages] == [True, False]
    assert keys(view.stages) == keys(planned.stages)
    assert view.stages[0].key == base.stages[0].key
    # Nothing is cached under the keys of the plan that did not run.
    assert queue.reusable(other) == ()
    assert len(queue.reusable(planned)) == 2


def test_the_bytes_under_a_key_are_those_that_its_plan_draws(engine, open_queue):
    short = engine.short_bytes()
    queue = open_queue(engine)
    with queue.device():
        run_id = queue.submit(LARGE)
        planned = queue.plan(LARGE)
        engine.budget_bytes = short
    view = end_of(queue, run_id)
    engine.budget_bytes = PLENTY_BYTES
    drawn = [digest(event.image) for event in Engine.run(engine, planned) if isinstance(event, StageDone)]
    assert [digest(read_picture(stage.png_path)) for stage in view.stages] == drawn


def test_a_stage_that_began_again_is_kept_under_the_key_of_its_new_plan(engine, open_queue, monkeypatch):
    predict, left = StageSampler._predictor, [1]

    def failing(self, *arguments):
        if self.stage.index == 1 and left and left.pop():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return predict(self, *arguments)

    monkeypatch.setattr(StageSampler, "_predictor", failing)
    queue = open_queue(engine)
    planned = queue.plan(LARGE)
    view = end_of(queue, queue.submit(planned))
    assert view.stages[1].retries == ("serial_guidance",)
    again = replanned(planned, engine.model.card, 1, MemoryOptions(serial_guidance=True), None)
    assert keys(view.stages) == keys(again.stages)
    assert keys(again.stages)[1] != keys(planned.stages)[1]
    assert [hit.stage for hit in queue.reusable(planned)] == [0]
    assert [hit.stage for hit in queue.reusable(again)] == [0, 1]


def test_a_plan_that_is_submitted_is_the_one_that_runs(engine, open_queue):
    queue = open_queue(engine)
    plan = queue.plan(LARGE)
    engine.budget_bytes = 1
    end_of(queue, queue.submit(plan))
    assert engine.ran == [plan]
    assert engine.ran[0] is plan
    with pytest.raises(OverBudget):
        queue.submit(LARGE)


def test_a_run_planned_before_the_engine_was_there_reuses_and_runs_by_the_plan_that_is_made_then(
    engine, open_queue
):
    asked = []

    def final_plan(plan, should_stop):
        asked.append(should_stop())
        return engine.plan(plan.settings)

    queue = open_queue(engine, final_plan=final_plan)
    engine.budget_bytes = engine.short_bytes()
    base = end_of(queue, queue.submit(SMALL))
    made_early = make_plan(LARGE, engine.model.card)
    final = engine.plan(LARGE)
    assert made_early.stages[0].key != final.stages[0].key
    view = end_of(queue, queue.submit(made_early))
    assert asked == [False, False]
    assert engine.ran[-1] == final
    assert keys(view.stages) == keys(final.stages)
    assert [stage.reused for stage in view.stages] == [True, False]
    assert view.stages[0].digest == base.stages[0].digest
    assert queue.reusable(made_early) == ()


def test_a_run_whose_pictures_are_all_there_waits_for_no_engine(engine, open_queue):
    queue = open_queue(engine)
    plan = queue.plan(LARGE)
    end_of(queue, queue.submit(plan))
    queue.close()
    again = open_queue(engine, final_plan=pytest.fail)
    view = end_of(again, again.submit(plan))
    assert [stage.reused for stage in view.stages] == [True, True]


@pytest.mark.parametrize(
    ("error", "state"), [(Stopped("stopped."), "stopped"), (ModelUnavailable("no weights."), "failed")]
)
def test_an_engine_that_does_not_come_ends_the_run_that_waits_for_it(engine, open_queue, error, state):
    def final_plan(_plan, _should_stop):
        raise error

    queue = open_queue(engine, final_plan=final_plan)
    *_, view = queue.follow(queue.submit(SMALL))
    assert (view.state, engine.ran) == (state, [])
    assert view.error == (None if state == "stopped" else "no weights.")
