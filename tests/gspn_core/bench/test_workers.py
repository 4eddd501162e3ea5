"""The simulation of more workers than there are, and the engine whose events cost only their way."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace

import pytest

from gspn_core.bench.workers import IDLE_CARD, Idle, _served, _simulated, simulate
from gspn_core.events import CascadeDone, StageDone, StepDone
from gspn_core.planning.plan import make_plan
from gspn_core.runs.worker import as_planned
from gspn_core.settings import Settings
from tests.drills.toy import CARD, paint, plan_of


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


def test_runs_and_a_grid_go_through_a_queue_on_the_workers_of_the_pool(tmp_path):
    drawn = []

    def run(plan, should_stop, **options):
        drawn.append(plan.settings.seed)
        return paint(plan, should_stop, step_seconds=0.0, **options)

    workers = [SimpleNamespace(name=name, run=run, final_plan=as_planned) for name in "ab"]
    pool = SimpleNamespace(workers=workers, plan=plan_of)
    asked = Namespace(target=128, steps=2, runs=3)
    runs, grid = _served(pool, str(tmp_path), asked, CARD, 1)
    assert runs > 0 and grid > 0 and sorted(drawn)[:3] == [1000, 1001, 1002] and len(drawn) == 3 + 4


def test_the_simulation_says_at_how_many_gpus_the_server_is_full_and_why():
    table = _simulated(Namespace(gpu_seconds=10.0), [0.001], [0.05], [0.5])
    assert [row[0] for row in table.rows] == [1, 8, 64, 512]
    # 1.3125 pictures of 0.5 s each for the writer, against 90 events and as many pictures of 0.05 s.
    assert "at 15 GPUs: the one thread that writes PNG and tiles" in table.notes[0]
    assert table.rows[0][2] == "98%" and float(table.rows[3][1]) < 3600 / 0.65
