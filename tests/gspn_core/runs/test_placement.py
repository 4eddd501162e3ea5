"""Which worker takes which of the waiting runs: pure, on runs that no engine draws."""

from __future__ import annotations

import dataclasses
import threading
from types import SimpleNamespace

import pytest

from gspn_core.planning.plan import make_plan
from gspn_core.runs.placement import NOTHING, fitness, held_after, in_turn, is_blocked, place
from gspn_core.runs.run_state import LiveRun
from gspn_core.settings import Settings


@pytest.fixture
def a_run(card):
    """Return a function that makes a waiting run."""
    lock = threading.RLock()

    def make(owner: str = "anna", *, seed: int = 1, loras: str = "", **settings) -> LiveRun:
        plan = make_plan(Settings(prompt="a lake", seed=seed, **settings), card)
        # The files are not here, and placement reads their names alone.
        plan = dataclasses.replace(plan, settings=dataclasses.replace(plan.settings, loras=loras))
        return LiveRun.waiting(plan, owner=owner, seed_drawn=False, lock=lock)

    return make


def worker(job: LiveRun | None = None, held=NOTHING):
    return SimpleNamespace(job=job, held=held)


def with_digests(run: LiveRun, count: int) -> LiveRun:
    """Let a run's first stages be written."""
    stages = [
        dataclasses.replace(stage, digest="d" if stage.index < count else stage.digest)
        for stage in run.view.stages
    ]
    run.view = dataclasses.replace(run.view, stages=tuple(stages))
    return run


def test_one_worker_takes_the_runs_in_the_order_of_their_submission(a_run):
    first, second = a_run("anna"), a_run("ben")
    assert place([first, second], [worker()], []) == {0: first}
    # Another of the same pictures has just begun, and no one else could draw this one earlier.
    assert place([first], [worker()], [a_run("ben")]) == {0: first}
    assert place([first], [worker(job=second)], [second]) == {}
    assert place([first], [], []) == {}


def test_several_workers_serve_the_visitors_in_turn_and_each_in_his_order(a_run):
    anna = [a_run("anna", seed=seed) for seed in range(4)]
    ben = [a_run("ben", seed=seed) for seed in range(10, 12)]
    waiting = [*anna, *ben]
    assert in_turn(waiting, []) == [anna[0], ben[0], anna[1], ben[1], anna[2], anna[3]]
    # Two of Anna's are being drawn, so Ben comes first.
    assert in_turn(waiting, [a_run("anna", seed=30), a_run("anna", seed=31)])[:3] == [*ben, anna[0]]
    assert place(waiting, [worker(), worker()], []) == {0: anna[0], 1: ben[0]}


def test_a_run_goes_to_the_idle_worker_that_has_most_of_it_at_hand(a_run):
    run = a_run(seed=5, loras="ink:0.8")
    same = held_after(a_run(seed=5, loras="ink:0.8"))
    files = held_after(a_run(seed=6, loras="ink:0.8"))
    other = held_after(a_run(seed=6))
    assert fitness(same, run) > fitness(files, run) > fitness(NOTHING, run) >= fitness(other, run)
    assert place([run], [worker(), worker(held=files), worker(held=same)], []) == {2: run}
    # One that suits it less takes it at once where the other has work.
    busy = a_run(seed=7)
    assert place([run], [worker(held=files), worker(job=busy, held=same)], [busy]) == {0: run}


def test_runs_that_share_a_stage_draw_it_once_and_others_go_ahead(a_run):
    first, shares = a_run(seed=1), a_run(seed=1, gaussian_sigma=0.3)
    other = a_run(seed=2)
    assert {stage.key for stage in first.plan.stages} & {stage.key for stage in shares.plan.stages}
    assert place([first, shares, other], [worker(), worker()], []) == {0: first, 1: other}
    workers = [worker(job=first), worker()]
    assert place([shares], workers, [first]) == {}
    # The later stages differ; with the picture of the first one on disk, both can be drawn.
    assert is_blocked(shares, [with_digests(first, 0)])
    assert not is_blocked(shares, [with_digests(first, 1)])
    assert place([shares], workers, [first]) == {1: shares}


def test_a_run_waits_for_the_one_that_draws_its_picture_with_its_own(a_run):
    run, other = a_run(seed=1), a_run(seed=2)
    other.draws = frozenset({run.id})
    assert is_blocked(run, [other]) and not is_blocked(a_run(seed=1), [other])
