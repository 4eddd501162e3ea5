from __future__ import annotations

import threading
import time

import pytest

from gspn_core.errors import Busy, ModelUnavailable
from gspn_core.events import StageNotTimed, StageTimed
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import Size
from gspn_core.runs.measuring import Measuring
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.timings import Timings
from gspn_core.settings import Settings

WAIT_SECONDS = 90
SETTINGS = Settings(prompt="a lake", seed=3)


def timed(px: int, mixer: str = "gspn") -> StageTimed:
    timing = StageTiming(
        mixer=mixer,
        height=px,
        width=px,
        encode_seconds=0.1,
        step_seconds=px / 1000,
        decode_seconds=0.2,
        peak_bytes=px * 1000,
    )
    return StageTimed(timing=timing)


class Bench:
    """Replaces EngineHost.measure: a piece waits until it is released or cancelled."""

    def __init__(self) -> None:
        self.released = threading.Semaphore(0)
        self.begun = threading.Event()
        self.calls: list[bool] = []
        self.known: set[tuple[int, str]] = set()
        self.busy_px: set[int] = set()

    def __call__(self, should_stop, *, every_mixer):
        self.calls.append(every_mixer)
        for px in (64, 128, 256):
            for mixer in ("gspn", "attention") if every_mixer else ("gspn",):
                if not every_mixer and (px, mixer) in self.known:
                    continue
                self.begun.set()
                while not self.released.acquire(timeout=0.005):
                    if should_stop():
                        return
                if px in self.busy_px:
                    yield StageNotTimed(size=Size(px, px))
                    return
                self.known.add((px, mixer))
                yield timed(px, mixer)


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
def make_measuring(jobs):
    made = []

    def make(measure, **options) -> Measuring:
        options = {"pieces": 6, "rest_seconds": 0.01, "retry_seconds": (0.01, 0.01), **options}
        made.append(Measuring(options.pop("jobs", jobs), Timings(jobs.folder), measure, **options))
        return made[-1]

    yield make
    for measuring in made:
        measuring.close()


@pytest.fixture
def measuring(make_measuring, bench):
    return make_measuring(bench)


def until(condition) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_every_piece_is_kept_and_counted(measuring, bench):
    measuring.start()
    assert measuring.progress.is_running and measuring.progress.pieces == 6
    bench.released.release(3)
    until(lambda: measuring.progress.done == 3)
    assert measuring.progress.side_px == 128
    assert len(measuring.timings.all()) == 3
    bench.released.release(3)
    until(lambda: not measuring.progress.is_running)
    assert (measuring.progress.done, measuring.progress.error, measuring.progress.busy_px) == (6, "", None)
    assert len(measuring.timings.all()) == 6


def test_a_second_start_starts_nothing(measuring, bench):
    measuring.start()
    measuring.start()
    assert sum(thread.name == "gspn-measuring" for thread in threading.enumerate()) == 1
    bench.released.release(6)
    until(lambda: not measuring.progress.is_running)
    assert measuring.progress.done == 6 and bench.calls == [True]


def test_a_stop_ends_it_and_keeps_what_was_measured(measuring, bench):
    measuring.start()
    bench.released.release(1)
    until(lambda: measuring.progress.done == 1)
    measuring.stop()
    until(lambda: not measuring.progress.is_running)
    assert len(measuring.timings.all()) == 1


def test_it_is_refused_during_a_run(make_engine, make_measuring, tmp_path, bench):
    go_on = threading.Event()
    engine = make_engine(before_event=lambda *_: go_on.wait(WAIT_SECONDS))
    jobs = RunQueue(engine.run, tmp_path / "other jobs", plan=engine.plan)
    measuring = make_measuring(bench, jobs=jobs)
    try:
        jobs.submit(SETTINGS)
        with pytest.raises(Busy, match="Measure when it finishes"):
            measuring.start()
        assert not bench.begun.is_set()
    finally:
        go_on.set()
        jobs.close()


@pytest.mark.parametrize("how", ["start", "begin"])
def test_a_run_ends_a_piece_that_is_measured_and_waits_for_none(measuring, bench, jobs, how):
    getattr(measuring, how)()
    assert bench.begun.wait(WAIT_SECONDS)
    # Nothing releases the piece: the run starts because the measurement is cancelled.
    *_, view = jobs.follow(jobs.submit(SETTINGS))
    assert view.state == "done"
    assert not measuring.progress.is_running and measuring.progress.done == 0


def test_a_failed_measurement_is_reported_and_runs_go_on(make_measuring, jobs):
    def broken(_should_stop, *, every_mixer):
        raise ModelUnavailable("the model is not there.")
        yield every_mixer

    measuring = make_measuring(broken)
    measuring.begin()
    until(lambda: measuring.pending is None)
    measuring.start()
    until(lambda: not measuring.progress.is_running)
    assert measuring.progress.error == "the model is not there."
    *_, view = jobs.follow(jobs.submit(SETTINGS))
    assert view.state == "done"


def test_where_nothing_can_be_measured_outside_of_a_run_nothing_starts(make_measuring):
    measuring = make_measuring(None, pieces=0)
    measuring.begin()
    measuring.start()
    assert not measuring.is_possible and not measuring.progress.is_running and measuring.pending is None


def test_the_background_does_not_measure_known_sizes_again(measuring, bench):
    bench.known = {(64, "gspn")}
    bench.released.release(2)
    measuring.begin()
    until(lambda: measuring.pending is None)
    assert [timing.height for timing in measuring.timings.all()] == [128, 256]
    assert bench.calls == [False] and not measuring.progress.done


def test_the_background_goes_on_after_a_run(measuring, bench, jobs):
    measuring.begin()
    bench.released.release(1)
    until(lambda: measuring.pending == 1)
    *_, view = jobs.follow(jobs.submit(SETTINGS))
    assert view.state == "done"
    bench.released.release(2)
    until(lambda: measuring.pending is None)
    assert {(px, "gspn") for px in (64, 128, 256)} == bench.known


def test_a_visitor_comes_before_the_background(measuring, bench):
    measuring.begin()
    assert bench.begun.wait(WAIT_SECONDS)
    measuring.start()
    until(lambda: True in bench.calls)
    bench.released.release(6)
    until(lambda: not measuring.progress.is_running and measuring.pending is None)
    assert measuring.progress.done == 6 and len(measuring.timings.all()) == 6


def test_a_busy_machine_ends_it_and_is_reported(measuring, bench, caplog):
    bench.busy_px = {128}
    bench.released.release(6)
    measuring.start()
    until(lambda: not measuring.progress.is_running)
    assert (measuring.progress.busy_px, measuring.progress.done, measuring.progress.error) == (128, 2, "")
    assert {timing.height for timing in measuring.timings.all()} == {64}
    assert "Not measured at 128 px: the machine was busy" in caplog.text


def test_the_background_tries_a_busy_machine_again_and_then_lets_it_be(measuring, bench):
    bench.busy_px = {128}
    bench.released.release(20)
    measuring.begin()
    until(lambda: measuring.pending is None)
    assert bench.calls == [False] * 3 and {px for px, _ in bench.known} == {64}


def test_a_runs_stages_are_timed_once_each(make_engine, tmp_path):
    engine, timings = make_engine(), Timings(tmp_path)
    jobs = RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan, timings=timings)
    try:
        *_, view = jobs.follow(jobs.submit(SETTINGS))
        *_, again = jobs.follow(jobs.submit(SETTINGS))
    finally:
        jobs.close()
    assert [(one.height, one.source) for one in timings.all()] == [
        (stage.height, "run") for stage in view.stages
    ]
    assert all(stage.reused for stage in again.stages)
    assert all(one.step_seconds > 0 and one.count == 1 for one in timings.all()), (
        "what is reused is not timed"
    )
