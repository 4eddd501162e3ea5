"""The simulation of more workers than there are, and the engine whose events cost only their way."""

from __future__ import annotations

import pytest

from gspn_core.bench.workers import IDLE_CARD, Idle, simulate
from gspn_core.events import CascadeDone, StageDone, StepDone
from gspn_core.planning.plan import make_plan
from gspn_core.settings import Settings


def test_a_server_that_is_not_full_gets_what_the_workers_could():
    runs, busy, writes = simulate(4, 10.0, taken=0.01, kept=0.1)
    assert runs == pytest.approx(4 * 3600 / 10.01, rel=0.01)
    assert busy == pytest.approx(4 * 0.001, rel=0.02) and writes == pytest.approx(0.04, rel=0.02)


def test_a_server_that_is_full_gives_what_its_slowest_part_can():
    by_writer, busy, writes = simulate(512, 10.0, taken=0.01, kept=0.1)
    assert by_writer == pytest.approx(36_000, rel=0.01) and writes == 1.0 and busy < 0.6
    by_interpreter, busy, _ = simulate(512, 10.0, taken=0.1, kept=0.01)
    assert by_interpreter == pytest.approx(36_000, rel=0.01) and busy == pytest.approx(1.0, rel=0.01)
    assert simulate(1024, 10.0, taken=0.01, kept=0.1)[0] == pytest.approx(by_writer, rel=0.01)


def test_the_idle_engine_yields_as_many_steps_as_are_asked_for():
    plan = make_plan(Settings(prompt="nothing", seed=1, num_inference_steps=7), IDLE_CARD)
    events = list(Idle().run(plan, lambda: False))
    assert sum(isinstance(event, StepDone) for event in events) == 7
    (done,) = (event for event in events if isinstance(event, StageDone))
    assert done.image.size == (2048, 2048) and isinstance(events[-1], CascadeDone)
