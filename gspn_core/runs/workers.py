"""The workers of a queue: each takes the runs that are placed on it, until it leaves or the queue closes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gspn_core.errors import Busy, WorkerLost
from gspn_core.runs.attempts import Attempts
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.placement import held_after, in_turn, place
from gspn_core.runs.run import Ended, QueueMoved
from gspn_core.runs.run_state import LiveRun
from gspn_core.runs.waiting import WaitingLine
from gspn_core.runs.worker import Worker

_LEAST_LANES = 4


class Workers:
    """The workers that a queue has now. Thread-safe.

    `wake`, `settled`, `renumber` and `stop_taking` are called with the queue's lock held.

    Args:
        lock: the queue's.
        waiting: the runs that wait.
        attempts: runs one of them.
        are_several: there are to be several, however many there are now.
        change: applies events to a run's view.
        on_end: called with a run that has ended, outside of the lock.
    """

    def __init__(
        self,
        lock: OrderedLock,
        waiting: WaitingLine,
        attempts: Attempts,
        *,
        are_several: bool,
        change: Callable[..., None],
        on_end: Callable[[LiveRun], None],
    ) -> None:
        self._lock, self._waiting, self._attempts = lock, waiting, attempts
        self._are_several, self._change, self._on_end = are_several, change, on_end
        self._changed = threading.Condition(lock)
        self._all: list[Worker] = []
        # The runs that have begun and whose last files are not written.
        self._live: list[LiveRun] = []
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def count(self) -> int:
        """Return how many workers there are."""
        with self._lock:
            return len(self._all)

    @property
    def lanes(self) -> int:
        """Return how many runs of one study are to be in the queue at a time.

        With several workers some of them wait for a picture that another draws, and others can go ahead.
        """
        return max(_LEAST_LANES, 2 * self.count) if self._are_several else 1

    @property
    def has_idle(self) -> bool:
        """Return whether a worker is idle and no run waits."""
        with self._lock:
            return not len(self._waiting) and any(worker.job is None for worker in self._all)

    def join(self, worker: Worker) -> None:
        """Let a worker take runs."""
        with self._lock:
            self._all.append(worker)
            self.wake()

    def leave(self, worker: Worker) -> None:
        """Let a worker take no further run; the one that it draws goes on."""
        with self._lock:
            self._leave(worker)

    def jobs(self) -> dict[str, LiveRun | None]:
        """Return the run that each worker draws, by the worker's name, None for an idle one."""
        with self._lock:
            return {worker.name: worker.job for worker in self._all}

    def wake(self) -> None:
        """Let the workers look for runs again."""
        for worker in self._all:
            if worker.thread is None and not self._closed and len(self._waiting):
                worker.thread = threading.Thread(
                    target=self._work, args=(worker,), name="gspn-worker", daemon=True
                )
                worker.thread.start()
                self._threads = [*filter(threading.Thread.is_alive, self._threads), worker.thread]
        self._changed.notify_all()

    @contextmanager
    def device(self) -> Iterator[Worker]:
        """Reserve an idle worker for a `with` block, in which it takes no run; raise Busy if none is idle."""
        with self._lock:
            # The last one to be given a run, where there are several alike.
            idle = [worker for worker in reversed(self._all) if worker.job is None]
        worker = next((worker for worker in idle if worker.device.acquire(blocking=False)), None)
        if worker is None:
            raise Busy("Another run is using the device. Try again when it finishes.")
        try:
            yield worker
        finally:
            worker.device.release()

    def settled(self, run: LiveRun) -> None:
        """Note that a run's files are written, for which others may wait."""
        if run in self._live:
            self._live.remove(run)
            self._changed.notify_all()

    def renumber(self) -> None:
        """Report the new place in the queue of every run that moved."""
        order = None
        if len(self._all) > 1:
            order = in_turn(list(self._waiting), [w.job for w in self._all if w.job is not None])
        self._waiting.renumber(order)

    def stop_taking(self) -> list[threading.Thread]:
        """Let no worker take a further run; return the threads that end once their runs have."""
        self._closed = True
        self._changed.notify_all()
        # Also those of workers that have left and are at their last run.
        return list(self._threads)

    def _leave(self, worker: Worker) -> None:
        worker.left = True
        if worker in self._all:
            self._all.remove(worker)
        self.wake()

    def _placed(self, worker: Worker) -> LiveRun | None:
        if worker.left or worker not in self._all:
            return None
        placed = place(list(self._waiting), self._all, self._live)
        return placed.get(self._all.index(worker))

    def _work(self, worker: Worker) -> None:
        while True:
            with self._lock:
                self._changed.wait_for(lambda: self._closed or worker.left or self._placed(worker))
                if self._closed or worker.left:
                    return
            with worker.device:
                with self._lock:
                    job = self._placed(worker)
                    if job is None or self._closed:
                        # The run was stopped, or another worker has taken it, in the meantime.
                        continue
                    others = self._begin(worker, job)
                self._draw(worker, job, others)

    def _begin(self, worker: Worker, job: LiveRun) -> list[LiveRun]:
        """Take a run; return those of its batch that it is to draw as well."""
        self._waiting.remove(job)
        worker.job = job
        if job not in self._live:
            self._live.append(job)
        job.began = job.began or time.monotonic()
        self._change(job, QueueMoved(position=0))
        others = self._waiting.of_batch(job)
        if len(self._all) > 1:
            # Its share of those that no other draws, as the idle workers take theirs.
            drawn = {run_id for run in self._live for run_id in run.draws}
            others = [other for other in others if other.id not in drawn]
            idle = 1 + sum(other.job is None for other in self._all)
            others = others[: -(-(len(others) + 1) // idle) - 1]
        job.draws = frozenset(other.id for other in others)
        self.renumber()
        self._changed.notify_all()
        return others

    def _draw(self, worker: Worker, job: LiveRun, others: list[LiveRun]) -> None:
        end: Ended | None = None
        try:
            end = job.context.run(self._attempts.run, job, worker, others)
        except WorkerLost:
            with self._lock:
                job.draws = frozenset()
                if not self._closed:
                    self._again(job)
                    return
            end = Ended(state="stopped")
        finally:
            with self._lock:
                worker.job, worker.held = None, held_after(job)
                if worker.left:
                    self._leave(worker)
        if end is not None:
            self._change(job, end)
        self._on_end(job)

    def _again(self, job: LiveRun) -> None:
        """Let a run whose worker was lost wait at the head of the queue."""
        if job in self._live:
            self._live.remove(job)
        self._waiting.put_back(job)
        self.renumber()
        self.wake()
