from __future__ import annotations

import threading
import time

import pytest

from gspn_core.errors import Busy, ModelUnavailable
from gspn_core.events import Calibrated
from gspn_core.planning.types import Size
from gspn_core.runs.measured import Measured
from gspn_core.runs.measuring import Measuring
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings

WAIT_SECONDS = 90
SETTINGS = Settings(prompt="a lake", seed=3)


class Bench:
    """Stands where Engine.measure_mixers stands: every piece waits until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Semaphore(0)
        self.begun = threading.Event()
        self.ended = threading.Event()

    def __call__(self, should_stop):
        try:
            for px in (64, 128, 256):
                for mixer in ("gspn", "attention"):
                    self.begun.set()
                    assert self.let_go.acquire(timeout=WAIT_SECONDS)
                    if should_stop():
                        return
                    yield Calibrated(
                        mixer=mixer,
                        size=Size(px, px),
                        head_seconds=0.0,
                        call_seconds=px / 1000,
                        tail_seconds=0.1,
                        peak_bytes=px * 1000,
                        memory_kind="process",
                    )
        finally:
            self.ended.set()


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def jobs(make_engine, tmp_path):
    engine = make_engine()
    jobs = RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan, view_seconds=0.0)
    yield jobs
    jobs.close()


@pytest.fixture
def measuring(jobs, bench):
    measured = Measured(jobs.folder, model="toy", machine=lambda: "CPU")
    measuring = Measuring(jobs, measured, bench, pieces=6)
    yield measuring
    measuring.stop()
    bench.let_go.release(20)
    measuring.close()


def until(condition) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_every_piece_is_kept_and_counted(measuring, bench):
    measuring.start()
    assert measuring.progress.is_running and measuring.progress.pieces == 6
    bench.let_go.release(3)
    until(lambda: measuring.progress.done == 3)
    assert measuring.progress.side_px == 128
    assert len(measuring.measured.points()) == 3
    bench.let_go.release(3)
    until(lambda: not measuring.progress.is_running)
    assert (measuring.progress.done, measuring.progress.error) == (6, "")
    assert len(measuring.measured.points()) == 6


def test_a_second_start_starts_nothing(measuring, bench):
    measuring.start()
    measuring.start()
    assert sum(thread.name == "gspn-measuring" for thread in threading.enumerate()) == 1
    bench.let_go.release(6)
    until(lambda: not measuring.progress.is_running)
    assert measuring.progress.done == 6


def test_a_stop_ends_it_within_one_piece_and_keeps_what_was_measured(measuring, bench):
    measuring.start()
    bench.let_go.release(1)
    until(lambda: measuring.progress.done == 1)
    measuring.stop()
    bench.let_go.release(1)
    until(lambda: not measuring.progress.is_running)
    assert bench.ended.is_set()
    assert len(measuring.measured.points()) == 1


def test_it_is_refused_while_a_run_goes_on(make_engine, tmp_path, bench):
    let_go = threading.Event()
    engine = make_engine(before_event=lambda *_: let_go.wait(WAIT_SECONDS))
    jobs = RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan)
    measuring = Measuring(jobs, Measured(jobs.folder, model="toy", machine=lambda: "CPU"), bench, pieces=6)
    try:
        jobs.submit(SETTINGS)
        with pytest.raises(Busy, match="measure when it is over"):
            measuring.start()
        assert not bench.begun.is_set()
    finally:
        let_go.set()
        jobs.close()


def test_a_run_that_is_asked_for_waits_for_the_piece_and_ends_the_rest(measuring, bench, jobs):
    measuring.start()
    assert bench.begun.wait(WAIT_SECONDS)
    job_id = jobs.submit(SETTINGS)
    time.sleep(0.05)
    assert jobs.view(job_id).state == "queued"
    bench.let_go.release(1)
    *_, view = jobs.follow(job_id)
    assert view.state == "done"
    assert measuring.progress.done == 0 and not measuring.progress.is_running


def test_a_measurement_that_breaks_says_so_and_lets_runs_go_on(jobs, tmp_path):
    def broken(_should_stop):
        raise ModelUnavailable("the model is not there.")
        yield

    measuring = Measuring(jobs, Measured(tmp_path, model="toy", machine=lambda: "CPU"), broken, pieces=6)
    measuring.start()
    until(lambda: not measuring.progress.is_running)
    assert measuring.progress.error == "the model is not there."
    *_, view = jobs.follow(jobs.submit(SETTINGS))
    assert view.state == "done"


def test_where_nothing_can_be_measured_outside_of_a_run_nothing_starts(jobs, tmp_path):
    measuring = Measuring(jobs, Measured(tmp_path, model="toy", machine=lambda: "CPU"), None, pieces=0)
    measuring.start()
    assert not measuring.is_possible and not measuring.progress.is_running


def test_a_runs_stages_are_learned_from_once_each(make_engine, tmp_path):
    told = []
    engine = make_engine()
    jobs = RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan, learned=lambda *args: told.append(args))
    try:
        *_, view = jobs.follow(jobs.submit(SETTINGS))
        *_, again = jobs.follow(jobs.submit(SETTINGS))
    finally:
        jobs.close()
    assert [(stage.index, seen.index) for stage, seen, _ in told] == [(0, 0), (1, 1), (2, 2)]
    assert all(rate.call_seconds > 0 for *_, rate in told)
    assert all(stage.reused for stage in again.stages), "what is reused is not measured"
