"""How long a run that waits has to: what the run on the device has left, and those in between."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from gspn_core.models.catalog import find_card
from gspn_core.planning.plan import make_plan
from gspn_core.runs.run_state import LiveRun
from gspn_core.runs.waiting import WaitingLine
from gspn_core.settings import Settings


def predicted(seconds: float | None) -> LiveRun:
    """Return a run whose only stage is predicted to take that long."""
    plan = make_plan(Settings(prompt="a lake", target=256, seed=1), find_card("world"))
    stage = dataclasses.replace(plan.stages[0], seconds=seconds)
    return LiveRun.waiting(
        dataclasses.replace(plan, stages=(stage,)), owner="", seed_drawn=False, lock=threading.Lock()
    )


@pytest.fixture
def line() -> WaitingLine:
    return WaitingLine(9, lambda _run, _moved: None)


def test_a_run_waits_for_the_one_on_the_device_and_for_those_before_it(line) -> None:
    runs = [predicted(seconds) for seconds in (4.0, 5.0, 6.0)]
    line.add(*runs)
    views = [run.view for run in runs]
    assert [line.seconds_before(run.id, views) for run in runs] == [0.0, 4.0, 9.0]
    busy = dataclasses.replace(predicted(8.0).view, state="running", left_seconds=2.5)
    assert [line.seconds_before(run.id, [busy, *views]) for run in runs] == [2.5, 6.5, 11.5]


def test_one_of_unknown_length_makes_the_wait_unknown(line) -> None:
    first, second, third = (predicted(seconds) for seconds in (1.0, None, 1.0))
    line.add(first, second, third)
    assert [line.seconds_before(run.id, []) for run in (first, second, third)] == [0.0, 1.0, None]
    unknown = dataclasses.replace(first.view, state="running", left_seconds=None)
    assert line.seconds_before(first.id, [unknown]) is None


def test_what_does_not_wait_has_no_wait(line) -> None:
    assert line.seconds_before("a" * 22, []) is None
