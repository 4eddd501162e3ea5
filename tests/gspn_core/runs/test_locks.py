from __future__ import annotations

import itertools
import json
import sys
import threading

import pytest
from PIL import Image

from gspn_core.errors import GspnError
from gspn_core.runs.locks import MEMORY_ONLY, ORDER, KeyedLocks, LockOrderError, OrderedLock, held_locks
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings

WAIT_SECONDS = 60
SETTINGS = Settings(prompt="a lake", seed=3, target=64)
_DISK = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir", "os.utime")


class DiskWatch:
    """Records disk access under locks that forbid it; audit hooks cannot be removed."""

    def __init__(self) -> None:
        self.seen: list[tuple] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if self.seen is not None and event in _DISK and set(held_locks()) & set(MEMORY_ONLY):
            self.seen.append((event, arguments[:1], held_locks()))


@pytest.fixture(scope="session")
def watch() -> DiskWatch:
    # Pillow reads its plugins from the disk on first use; that has nothing to do with jobs.
    Image.init()
    return DiskWatch()


@pytest.fixture
def disk(watch):
    watch.seen = []
    yield watch.seen
    watch.seen = None


@pytest.fixture
def open_jobs(make_engine, tmp_path):
    opened = []

    def open_one(engine=None, **options) -> RunQueue:
        engine = engine or make_engine()
        opened.append(
            RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan, **{"view_seconds": 0.0, **options})
        )
        return opened[-1]

    yield open_one
    for jobs in opened:
        jobs.close()


def last(jobs: RunQueue, job_id: str):
    *_, view = jobs.follow(job_id)
    return view


@pytest.mark.parametrize(("first", "second"), list(itertools.product(ORDER, ORDER)))
def test_two_locks_are_taken_in_one_order_only(first, second):
    outer, inner = OrderedLock(first), OrderedLock(second)
    with outer:
        if ORDER.index(first) < ORDER.index(second):
            with inner:
                assert held_locks() == (first, second)
        else:
            with pytest.raises(LockOrderError, match=f"lock {second} was taken under lock {first}"):
                inner.acquire(blocking=False)
    assert held_locks() == ()


def test_a_lock_that_is_held_is_taken_again_and_a_wait_lets_all_of_it_go():
    lock = OrderedLock("queue")
    changed, taken = threading.Condition(lock), []

    def other() -> None:
        with changed:
            taken.append(held_locks())
            changed.notify_all()

    with lock, changed:
        thread = threading.Thread(target=other)
        thread.start()
        assert changed.wait_for(lambda: taken, WAIT_SECONDS)
        assert held_locks() == ("queue", "queue")
    thread.join(WAIT_SECONDS)
    assert taken == [("queue",)] and held_locks() == ()


def test_a_key_has_one_lock_for_as_long_as_it_is_used():
    keyed, order, inside = KeyedLocks("run"), [], threading.Event()

    def other() -> None:
        inside.set()
        with keyed.hold("a"):
            order.append("other")

    with keyed.hold("a"):
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(WAIT_SECONDS)
        with keyed.hold("a"):
            order.append("this")
        with pytest.raises(LockOrderError), keyed.hold("b"):
            pass
    thread.join(WAIT_SECONDS)
    assert order == ["this", "other"] and keyed._locks == {}


def test_the_disk_is_never_touched_under_the_lock_of_the_queue(open_jobs, make_engine, disk, tmp_path):
    reached, go = threading.Event(), threading.Event()

    def hold(_settings: Settings, number: int) -> None:
        if number == 3:
            reached.set()
            assert go.wait(WAIT_SECONDS)

    jobs = open_jobs(make_engine(before_event=hold), keep_bytes=1)
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "photo.png")
    reference = jobs.take_start(tmp_path / "photo.png", "photo.png")
    first = jobs.submit(Settings(prompt="a lake", target=256, start=reference), visitor="anna")
    assert reached.wait(WAIT_SECONDS)
    waiting = [jobs.submit(SETTINGS, visitor="anna") for _ in range(2)]
    jobs.stop(waiting[0], visitor="anna")
    jobs.annotate(first, "anna", note="good", favourite=True)
    # Followed from before their ends: after those, the quota leaves no run.
    followed = [jobs.follow(job_id) for job_id in (first, *waiting)]
    go.set()
    for views in followed:
        *_, _view = views
    for job_id in (first, waiting[-1]):
        if job_id in {run.id for run in jobs.history("anna")}:
            jobs.delete(job_id, "anna")
    jobs.usage("anna")
    for ask in (jobs.stop, jobs.view):
        with pytest.raises(GspnError, match="There is no run"):
            ask("x" * 22)
    jobs.close()
    assert disk == []


def test_a_run_is_on_disk_before_anything_may_end_or_remove_it(open_jobs, monkeypatch):
    jobs = open_jobs(keep_bytes=1)
    opening, go, order = threading.Event(), threading.Event(), []
    write_about = jobs._store.write_about

    def slow(job_id, about) -> None:
        opening.set()
        assert go.wait(WAIT_SECONDS)
        write_about(job_id, about)
        order.append("written")

    monkeypatch.setattr(jobs._store, "write_about", slow)
    submitting = threading.Thread(target=lambda: jobs.submit(SETTINGS, visitor="anna"))
    submitting.start()
    assert opening.wait(WAIT_SECONDS)
    (job_id,) = jobs._jobs
    # No request of the page waits for that disk.
    assert jobs.view(job_id).state in ("queued", "running") and jobs.is_busy
    jobs.stop(job_id, visitor="anna")
    assert jobs._archive.prune(0, jobs._is_needed) == ()
    with pytest.raises(GspnError, match="still going"):
        jobs.delete(job_id, "anna")
    assert not jobs._jobs[job_id].settled
    go.set()
    submitting.join(WAIT_SECONDS)
    assert last(jobs, job_id).state == "stopped"
    assert order[0] == "written"
    record = json.loads((jobs.folder / job_id / "job.json").read_text())
    assert record["view"]["state"] == "stopped"
    assert [run.id for run in jobs.history("anna")] == [job_id]


def test_a_record_that_was_removed_does_not_come_back(open_jobs):
    jobs = open_jobs()
    job_id = jobs.submit(SETTINGS, visitor="anna")
    view = last(jobs, job_id)
    jobs.delete(job_id, "anna")
    jobs._archive.update(view, weigh=True)
    assert jobs.history("anna") == () and jobs.usage("anna")[0] == 0
