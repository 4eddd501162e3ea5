"""Grids on several workers: the cells spread, shared stages drawn once, the most expensive first."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

import pytest

from gspn_core.images.png import read_picture
from gspn_core.planning.plan import make_plan
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.worker import Worker
from gspn_core.settings import Settings
from gspn_core.studies.axis import parse_axis
from gspn_core.studies.runner import Studies
from gspn_core.studies.study import cost, spread_order
from tests.drills.toy import CARD, paint, plan_of
from tests.gspn_core.conftest import WAIT_SECONDS

AXES = (("seed", "3 from 5"), ("gaussian_sigma", "0, 0.5, 1"))
BASE = Settings(prompt="a lake", seed=3, target=128)


@pytest.fixture
def grid(tmp_path):
    """Return a function that runs a 3 × 3 grid on workers; it returns the view, pictures and drawn stages."""

    def run(workers: int):
        drawn: list[str] = []
        begun = itertools.count()
        together = threading.Barrier(workers) if workers > 1 else None

        def run_one(plan, should_stop, *, finished=(), **options):
            if together is not None and next(begun) < workers:
                # The first cells have different first stages: each worker is at one.
                together.wait(WAIT_SECONDS)
            drawn.extend(stage.key for stage in plan.stages[len(finished) :])
            yield from paint(plan, should_stop, finished=finished, step_seconds=0.0, **options)

        own = run_one if workers == 1 else None
        jobs = RunQueue(own, tmp_path / str(workers), plan=plan_of, view_seconds=0.0)
        for number in range(workers if workers > 1 else 0):
            jobs.workers.join(Worker(name=f"worker {number}", run=run_one))
        studies = Studies(jobs)
        axes = [parse_axis(*axis, CARD) for axis in AXES]
        *_, view = studies.follow(studies.start(studies.draft(BASE, axes), visitor="anna"))
        stages = [jobs.view(cell.job_id).stages for cell in view.cells]
        pictures = [[read_picture(one.png_path).tobytes() for one in cell] for cell in stages]
        studies.close()
        jobs.close()
        return view, pictures, drawn

    return run


def test_a_grid_on_two_workers_has_the_pictures_of_one_and_draws_no_stage_twice(grid):
    one, pictures, drawn = grid(1)
    two, spread_pictures, spread_drawn = grid(2)
    assert {cell.state for cell in (*one.cells, *two.cells)} == {"done"}
    assert spread_pictures == pictures
    assert Counter(spread_drawn) == Counter(drawn) and set(Counter(drawn).values()) == {1}
    assert [cell.settings for cell in two.cells] == [cell.settings for cell in one.cells]


def test_one_of_each_that_share_a_stage_comes_first_and_the_most_expensive_of_them():
    def plan(seed: int, **changes):
        return make_plan(Settings(prompt="a lake", seed=seed, **changes), CARD)

    plans = [plan(1, target=128), plan(1, target=512), plan(2, target=128), plan(3, target=256)]
    # Seeds 3, 1 and 2 by what their first cell costs, then what is left of seed 1.
    assert spread_order(plans) == (3, 0, 2, 1)
    assert sorted(spread_order(plans[:1] * 3)) == [0, 1, 2]


def test_the_seconds_of_a_grid_are_shared_but_for_its_longest_cell():
    plans = [make_plan(Settings(prompt="a lake", seed=seed, target=128), CARD) for seed in range(4)]
    asked = {
        "is_there": lambda _stage: False,
        "calls_of": lambda _stage: 1,
        "seconds_of": lambda _stage, _calls: 1.0,
    }
    assert [cost(plans, **asked, workers=count).seconds for count in (1, 2, 4, 9)] == [8.0, 4.0, 2.0, 2.0]
