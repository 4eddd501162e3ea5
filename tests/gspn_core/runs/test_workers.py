"""Several workers in threads of this process: runs at a time, fairness, a lost worker, join and leave."""

from __future__ import annotations

import threading

import pytest

from gspn_core.errors import Busy, WorkerLost
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.worker import Worker
from tests.gspn_core.conftest import WAIT_SECONDS, Gate
from tests.gspn_core.runs.conftest import SETTINGS, again, last


@pytest.fixture
def pool(tmp_path, make_engine):
    """Return a function that opens a queue whose workers are the given engines."""
    opened = []

    def open_one(*engines, **options) -> RunQueue:
        plan = make_engine().plan
        jobs = RunQueue(None, tmp_path / "jobs", plan=plan, **{"view_seconds": 0.0, **options})
        opened.append(jobs)
        for number, engine in enumerate(engines, start=1):
            jobs.workers.join(Worker(name=f"worker {number}", run=engine.run))
        return jobs

    yield open_one
    for jobs in opened:
        jobs.close()


def seeds(engine) -> list[int]:
    return [settings.seed for settings in engine.ran]


def test_as_many_runs_are_drawn_at_a_time_as_there_are_workers(pool, make_engine):
    gates = Gate(), Gate()
    engines = [make_engine(before_event=gate) for gate in gates]
    jobs = pool(*engines)
    ids = [jobs.submit(again(seed=seed)) for seed in (1, 2, 3)]
    for gate in gates:
        gate.wait()
    assert [jobs.view(one).queue_position for one in ids] == [0, 0, 1]
    assert [jobs.view(one).state for one in ids] == ["running", "running", "queued"]
    assert not jobs.workers.has_idle and jobs.is_taken
    with pytest.raises(Busy), jobs.device():
        pytest.fail("no worker is idle")
    for gate in gates:
        gate.open()
    assert [last(jobs, one).state for one in ids] == ["done"] * 3
    assert sorted(seeds(engines[0]) + seeds(engines[1])) == [1, 2, 3]


def test_places_in_the_queue_are_those_in_which_the_visitors_are_served(pool, make_engine):
    gates = Gate(), Gate()
    jobs = pool(*(make_engine(before_event=gate) for gate in gates))
    running = [jobs.submit(again(seed=seed), visitor="anna") for seed in (1, 2)]
    for gate in gates:
        gate.wait()
    anna = [jobs.submit(again(seed=seed), visitor="anna") for seed in (3, 4)]
    ben = jobs.submit(again(seed=5), visitor="ben")
    assert [jobs.view(one).queue_position for one in (ben, *anna)] == [1, 2, 3]
    for gate in gates:
        gate.open()
    assert {last(jobs, one).state for one in (*running, *anna, ben)} == {"done"}


def test_a_stage_that_two_runs_share_is_drawn_once(pool, make_engine):
    gate = Gate()
    engines = make_engine(before_event=gate), make_engine(before_event=gate)
    jobs = pool(*engines)
    first = jobs.submit(SETTINGS)
    gate.wait()
    second = jobs.submit(again(gaussian_sigma=0.3))
    assert jobs.view(second).state == "queued" and jobs.workers.jobs()["worker 2"] is None
    gate.open()
    assert last(jobs, first).state == last(jobs, second).state == "done"
    assert [stage.reused for stage in jobs.view(second).stages] == [True, False, False]


def test_a_run_whose_worker_is_lost_goes_on_from_its_last_finished_stage(pool, make_engine):
    def lost(_settings, number: int) -> None:
        # In the second stage.
        if number == 12:
            raise WorkerLost("worker 1 was lost.")

    dying, other = make_engine(before_event=lost), make_engine()
    jobs = pool(dying)
    job_id = jobs.submit(SETTINGS)
    jobs.workers.join(Worker(name="worker 2", run=other.run))
    view = last(jobs, job_id)
    assert view.state == "done" and view.error is None
    assert [stage.state for stage in view.stages] == ["done"] * 3
    assert all(stage.png_path for stage in view.stages)
    assert [image.size for image in other.finished[0]] == [(64, 64)]
    assert list(jobs.workers.jobs()) == ["worker 2"]


def test_a_run_whose_worker_is_lost_twice_fails_with_a_sentence(pool, make_engine):
    def lost(_settings, number: int) -> None:
        if number == 2:
            raise WorkerLost("it was lost.")

    jobs = pool(*(make_engine(before_event=lost) for _ in range(2)))
    view = last(jobs, jobs.submit(SETTINGS))
    assert view.state == "failed" and view.error.startswith("The worker of this run was lost twice")
    # The next run waits until a worker joins, and can be stopped before.
    waits, stopped = jobs.submit(again(seed=8)), jobs.submit(again(seed=9))
    assert jobs.view(waits).queue_position == 1
    jobs.stop(stopped)
    jobs.workers.join(Worker(name="new", run=make_engine().run))
    assert last(jobs, waits).state == "done" and last(jobs, stopped).state == "stopped"


def test_a_run_that_is_to_stop_does_not_go_on_elsewhere(pool, make_engine):
    gate = Gate()
    stops = threading.Event()

    def lost(settings, number: int) -> None:
        gate(settings, number)
        if stops.is_set():
            raise WorkerLost("it was lost.")

    other = make_engine()
    jobs = pool(make_engine(before_event=lost), other)
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    jobs.stop(job_id)
    stops.set()
    gate.open()
    assert last(jobs, job_id).state == "stopped" and other.ran == []


def test_a_worker_that_leaves_finishes_its_run_and_takes_no_other(pool, make_engine):
    gate = Gate()
    leaving, other = make_engine(before_event=gate), make_engine()
    jobs = pool()
    first = Worker(name="first", run=leaving.run)
    jobs.workers.join(first)
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    jobs.workers.leave(first)
    jobs.workers.join(Worker(name="second", run=other.run))
    later = jobs.submit(again(seed=9))
    assert last(jobs, later).state == "done"
    gate.open()
    assert last(jobs, job_id).state == "done"
    first.thread.join(WAIT_SECONDS)
    assert not first.thread.is_alive() and seeds(leaving) == [3] and seeds(other) == [9]


def test_the_pictures_of_a_batch_are_shared_out_among_idle_workers(pool, make_engine):
    gates = Gate(at=0), Gate(at=0)
    engines = [make_engine(before_event=gate, together=4) for gate in gates]
    jobs = pool(*engines)
    ids = jobs.batches.submit(again(seed=1), 4, visitor="anna")
    for gate in gates:
        gate.wait()
        gate.open()
    assert {last(jobs, one).state for one in ids} == {"done"}
    assert sorted(map(len, (engine.more_seeds[0] for engine in engines))) == [1, 1]
    assert sum(len(engine.ran) for engine in engines) == 2
