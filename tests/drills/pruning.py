"""Runs submitted from two threads while the quota removes the runs before them: the locks of both meet."""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gspn_core.errors import Busy, GspnError
from gspn_core.runs.archive import owner_of
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from tests.drills.figures import Figure
from tests.drills.toy import plan_of

SETTINGS = Settings(prompt="a toy", seed=3, target=64)
VISITOR = "anna"
KEEP_BYTES = 20_000
THREADS = 2
# A submission takes milliseconds; so long without one is a deadlock.
HANG_SECONDS = 120
# So few ended runs wait to be written.
SETTLE_EVERY = 8


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Submit `count` runs over a folder whose quota holds a few of them."""
    with tempfile.TemporaryDirectory(prefix="gspn-pruning-") as name:
        jobs = RunQueue(
            lambda *_arguments, **_options: (event for event in ()),
            Path(name) / "jobs",
            plan=plan_of,
            keep_bytes=KEEP_BYTES,
            max_queued=2 * THREADS,
            view_seconds=0.0,
        )
        submitted, broken = submit(jobs, count, tell)
        closing = threading.Thread(target=jobs.close, daemon=True)
        closing.start()
        closing.join(HANG_SECONDS)
        known = {run.id for run in jobs._archive.history(owner_of(VISITOR), limit=2 * count)}
        folders = {path.name for path in jobs.folder.iterdir() if path.is_dir()} - {"starts"}
        records = {path.parent.name for path in jobs.folder.glob("*/job.json")}
        lost = (known ^ records) | (folders ^ records) | (records - set(submitted))
    removed = len(submitted) - len(records)
    return [
        Figure(
            what=f"of {count} runs, those that were submitted",
            value=len(submitted),
            bound=count,
            at_least=True,
        ),
        Figure(what="runs that the quota removed meanwhile", value=removed, bound=count // 2, at_least=True),
        Figure(what="threads that hung", value=closing.is_alive(), bound=0),
        Figure(what="errors", value=len(broken), bound=0, seen="; ".join(broken)),
        Figure(what="records and folders of which one is without the other", value=len(lost), bound=0),
        Figure(what="last runs that are gone", value=submitted[-1] not in records, bound=0),
    ]


def submit(jobs: RunQueue, count: int, tell: Callable[[int], None]) -> tuple[list[str], list[str]]:
    """Return the runs that were submitted, in order, and what was wrong."""
    submitted, broken, lock, numbers = [], [], threading.Lock(), itertools.count()

    def work() -> None:
        try:
            while next(numbers) < count:
                submit_one()
        except (GspnError, OSError, RuntimeError, LookupError) as error:
            broken.append(f"{type(error).__name__}: {error}")

    def submit_one() -> None:
        while True:
            try:
                job_id = jobs.submit(SETTINGS, visitor=VISITOR)
                break
            except Busy:
                jobs.stop(submitted[-1], visitor=VISITOR)
                settle(jobs, submitted[-1])
        with lock:
            submitted.append(job_id)
        jobs.annotate(job_id, VISITOR, note="a note")
        if len(submitted) % SETTLE_EVERY == 0:
            settle(jobs, job_id)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    done, moved = 0, time.monotonic()
    while any(thread.is_alive() for thread in threads):
        threads[0].join(0.1)
        threads[-1].join(0.1)
        if len(submitted) != done:
            done, moved = len(submitted), time.monotonic()
            tell(done)
        elif time.monotonic() - moved > HANG_SECONDS:
            broken.append(f"nothing was submitted for {HANG_SECONDS} s after {done} runs")
            break
    return submitted, broken


def settle(jobs: RunQueue, job_id: str) -> None:
    """Wait for a run's end."""
    for _view in jobs.follow(job_id):
        pass
