"""The runs that wait for a worker, in the order in which they were submitted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

from gspn_core.errors import Busy
from gspn_core.runs.estimate import left_seconds
from gspn_core.runs.run import QueueMoved, RunView
from gspn_core.runs.run_state import LiveRun


class WaitingLine:
    """The runs that wait. Callers hold the queue's lock.

    Args:
        most: How many runs may wait; one visitor may have half of them.
        change: Called with a run and its new position.
    """

    def __init__(self, most: int, change: Callable[[LiveRun, QueueMoved], None]) -> None:
        self._most, self._most_each, self._change = most, max(1, most // 2), change
        self._runs: deque[LiveRun] = deque()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(self._runs)

    def __contains__(self, run: LiveRun) -> bool:
        return run in self._runs

    def of_batch(self, run: LiveRun) -> list[LiveRun]:
        """Return the pictures of a run's batch that wait, none for a run that is not one of them."""
        return [
            other
            for other in self._runs
            if run.view.picture and other.view.picture and other.view.batch == run.view.batch
        ]

    def add(self, *runs: LiveRun) -> None:
        """Append runs of one owner, all or none; raise Busy if too many wait. Call `renumber` after it."""
        self.check(len(runs), runs[0].owner)
        self._runs.extend(runs)

    def check(self, count: int, owner: str) -> None:
        """Raise Busy if that many runs of an owner, "" for none, cannot wait as well."""
        if len(self._runs) >= self._most:
            raise Busy(f"The queue is full with {len(self._runs)} waiting runs; try again later.")
        own = sum(other.owner == owner for other in self._runs) if owner else 0
        if own >= self._most_each:
            raise Busy(f"You have {own} waiting runs, the maximum; stop one or wait.")
        free = min(self._most - len(self._runs), self._most_each - own if owner else self._most)
        # The first of them need not wait where no other run does.
        if count > free + (not self._runs):
            raise Busy(
                f"{count} pictures need more places than the {free} free ones; ask for fewer, or wait."
            )

    def put_back(self, run: LiveRun) -> None:
        """Let a run that had begun wait as the first one; call `renumber` after it."""
        self._runs.appendleft(run)

    def remove(self, run: LiveRun) -> None:
        """Remove a run; call `renumber` once its own view is changed."""
        self._runs.remove(run)

    def seconds_before(self, run_id: str, views: Sequence[RunView], workers: int = 1) -> float | None:
        """Return the seconds until a run that waits starts; None while one before it has no estimate.

        Args:
            run_id: Of a run.
            views: Of the runs of this server, of which each worker may have one.
            workers: How many draw; what comes before is taken to be divided among them.
        """
        if all(run.id != run_id for run in self._runs):
            return None
        ahead = takewhile(lambda run: run.id != run_id, self._runs)
        seconds = [view.left_seconds for view in views if view.state == "running"]
        seconds += [left_seconds(run.view.stages, (), run.view.settings["mixer"]) for run in ahead]
        return None if None in seconds else sum(seconds) / max(1, workers)

    def renumber(self, order: Sequence[LiveRun] | None = None) -> None:
        """Report the new position of every run that moved; order: in which they are to run, if another."""
        for position, run in enumerate(self._runs if order is None else order, start=1):
            if run.view.queue_position != position:
                self._change(run, QueueMoved(position=position))
