"""Real Ray: two workers on this machine, with an engine that paints at once, and one with the embedded model.

All tests share one cluster, which takes most of their time.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from gspn_core.errors import BadSetting, GspnError, Stopped
from gspn_core.events import CascadeDone, StageDone, StepDone
from gspn_core.models.catalog import find_card
from gspn_core.remote.actor import EngineActor
from gspn_core.remote.cluster import Cluster, WorkersAsked, has_ray
from gspn_core.remote.messages import check_facts, opened
from gspn_core.remote.pool import WorkerPool
from gspn_core.remote.worker import RemoteWorker
from gspn_core.runs.queue import RunQueue
from gspn_core.serving.engine_loader import load_engine
from gspn_core.serving.remote_workers import load_for_worker, take_runs
from gspn_core.serving.server_options import parse_options
from gspn_core.settings import Settings
from tests.drills.toy import CARD, paint, painted, plan_of
from tests.gspn_core.remote.toys import BROKEN, HELD, load_toy

pytestmark = pytest.mark.skipif(not has_ray(), reason="needs ray (pip install ray==2.60.0)")

WAIT_SECONDS = 300


def patient(find: Callable) -> Callable:
    """Return Ray's look-up of its own node with time for a busy machine, where Ray gives it half a minute."""

    def found(*arguments):
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return find(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    return found


def a_cluster() -> Cluster:
    """Return a cluster of this machine for two workers with a thread each."""
    from ray._private import services

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "get_node", patient(services.get_node))
        return Cluster(
            WorkersAsked(count=2, cpu=True, threads=1), log_to_driver=False, store_bytes=80 * 2**20
        )


@pytest.fixture(scope="module")
def pool():
    """Return two workers that paint at once; nothing of Ray is left when they are closed."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    made = WorkerPool(a_cluster, load_toy, CARD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_register_timeout_seconds", str(WAIT_SECONDS))
        # Read when ray is imported, which is below.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_NUM_REDIS_GET_RETRIES", str(WAIT_SECONDS))
        assert made.open() == "2 × a toy"
        assert made.wait_for(2, WAIT_SECONDS)
        started = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        yield made
        made.close()
    assert psutil.wait_procs(started, WAIT_SECONDS)[1] == []


@pytest.fixture
def jobs(pool, tmp_path):
    """Return a queue whose workers are those of the pool."""
    assert pool.wait_for(2, WAIT_SECONDS)
    queue = RunQueue(None, tmp_path / "jobs", plan=plan_of, view_seconds=0.0)
    take_runs(pool, queue.workers)
    yield queue
    queue.close()


def asked(words: str = "a lake", *, seed: int = 1, target: int = 128) -> Settings:
    return Settings(prompt=words, seed=seed, target=target)


def last(jobs: RunQueue, job_id: str):
    *_, view = jobs.follow(job_id)
    return view


def is_held(view) -> bool:
    return view.stage == len(view.stages) - 1 and view.stages[-1].step == 1


def until(jobs: RunQueue, job_id: str, is_so):
    """Return the first view for which a condition holds."""
    return next(view for view in jobs.follow(job_id) if is_so(view))


def test_events_and_pictures_arrive_as_the_engine_made_them(pool):
    plan = plan_of(asked())
    here, there = list(paint(plan, lambda: False)), list(pool.run(plan, lambda: False))
    assert [type(event) for event in there] == [type(event) for event in here]
    assert isinstance(there[-1], CascadeDone)
    pictures = [event for event in there if isinstance(event, StageDone)]
    for event in pictures:
        assert event.image.tobytes() == painted(event.stage).tobytes() and event.image.mode == "RGB"
    assert [event.stage for event in pictures] == list(plan.stages)
    assert next(event for event in there if isinstance(event, StepDone)).preview.size == (8, 8)
    # A picture goes there as well.
    rest = list(pool.run(plan, lambda: False, finished=[pictures[0].image]))
    assert [event.stage.index for event in rest if isinstance(event, StageDone)] == [1]


def test_a_stop_reaches_a_running_step_and_the_worker_goes_on(pool, tmp_path):
    stop, held = threading.Event(), plan_of(asked(f"{HELD} {tmp_path / 'never'}"))
    with pytest.raises(Stopped):
        for event in pool.run(held, stop.is_set):
            if isinstance(event, StepDone) and event.stage == 1:
                stop.set()
    # One that is closed early stops as well, or the next one would wait for its end.
    events = pool.run(held, lambda: False)
    next(events)
    events.close()
    assert isinstance(list(pool.run(plan_of(asked()), lambda: False))[-1], CascadeDone)


def test_an_error_there_is_raised_here_and_plans_are_made_there(pool):
    assert pool.plan(asked()) == plan_of(asked())
    assert pool.model_calls(plan_of(asked()).stages[0]) == plan_of(asked()).stages[0].steps
    with pytest.raises(BadSetting) as refused:
        pool.plan(asked(target=4096))
    assert refused.value.field == "target"
    with pytest.raises(GspnError, match="the run failed on .* bad luck"):
        list(pool.run(plan_of(asked(BROKEN)), lambda: False))


def test_runs_of_two_visitors_are_drawn_side_by_side_and_files_are_written_here(jobs, tmp_path):
    go = tmp_path / "go"
    ids = [
        jobs.submit(asked(f"{HELD} {go}", seed=seed), visitor=visitor)
        for seed, visitor in ((1, "anna"), (2, "ben"), (3, "anna"))
    ]
    for one in ids[:2]:
        until(jobs, one, is_held)
    assert {job.id for job in jobs.workers.jobs().values()} == set(ids[:2])
    assert jobs.view(ids[2]).queue_position == 1
    go.touch()
    for view in (last(jobs, one) for one in ids):
        assert view.state == "done" and all(Path(stage.png_path).is_file() for stage in view.stages)


def test_a_killed_worker_is_replaced_and_its_run_goes_on_from_the_last_finished_stage(jobs, pool, tmp_path):
    go = tmp_path / "go"
    job_id = jobs.submit(asked(f"{HELD} {go}", seed=7, target=256))
    until(jobs, job_id, is_held)
    name = next(name for name, job in jobs.workers.jobs().items() if job is not None)
    killed = next(worker for worker in pool.workers if worker.name == name)
    os.kill(killed.facts.process_id, signal.SIGKILL)
    views = jobs.follow(job_id)
    seen = [next(views)]
    go.touch()
    seen += views
    assert seen[-1].state == "done" and [stage.state for stage in seen[-1].stages] == ["done"] * 3
    # The first two stages were not drawn again.
    assert {stage.state for view in seen for stage in view.stages[:2]} == {"done"}
    assert not any(stage.reused for stage in seen[-1].stages)
    # Another worker takes the place of the one that is gone, and takes runs.
    assert pool.wait_for(2, WAIT_SECONDS) and killed not in pool.workers
    go.unlink()
    both = [jobs.submit(asked(f"{HELD} {go}", seed=seed)) for seed in (8, 9)]
    for one in both:
        until(jobs, one, is_held)
    go.touch()
    assert {last(jobs, one).state for one in both} == {"done"}


def test_the_embedded_model_draws_the_same_bytes_in_a_worker(pool, one_thread, tmp_path):  # noqa: ARG001
    import ray

    options = parse_options(["--device", "cpu", "--dtype", "float32"], {}, tmp_path)
    # Next to the workers of the pool, which have the two places.
    started = ray.remote(num_cpus=0, concurrency_groups={"control": 1})(EngineActor)
    actor = started.remote(partial(load_for_worker, options, load_engine))
    facts = opened(ray.get(actor.facts.remote()))
    check_facts(facts, find_card("world", device="cpu", dtype="float32"))
    worker = RemoteWorker("a worker", actor, facts, lambda _: None)
    plan = worker.ask("plan", Settings(prompt="a house by a lake", seed=3, target=256, num_inference_steps=2))
    # Whether it still fits depends on what else this machine does.
    assert worker.ask("still_fits", plan) in (True, False)
    there = [event.image for event in worker.run(plan, lambda: False) if isinstance(event, StageDone)]
    ray.kill(actor)
    engine, _ = load_engine(options, lambda _: None)
    here = [event.image for event in engine.run(plan) if isinstance(event, StageDone)]
    assert [image.tobytes() for image in there] == [image.tobytes() for image in here]
