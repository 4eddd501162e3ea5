"""The runs that wait for the device, in the order in which they were submitted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gspn_core.errors import Busy
from gspn_core.runs.run import QueueMoved
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

    def __contains__(self, run: LiveRun) -> bool:
        return run in self._runs

    def add(self, run: LiveRun) -> None:
        """Append a run; raise Busy if too many wait."""
        if len(self._runs) >= self._most:
            raise Busy(f"The queue is full with {len(self._runs)} waiting runs; try again later.")
        own = sum(other.owner == run.owner for other in self._runs) if run.owner else 0
        if own >= self._most_each:
            raise Busy(f"You have {own} waiting runs, the maximum; stop one or wait.")
        self._runs.append(run)
        self.renumber()

    def remove(self, run: LiveRun) -> None:
        """Remove a run; call `renumber` once its own view is changed."""
        self._runs.remove(run)

    def next(self) -> LiveRun | None:
        """Remove and return the next run, None if none waits; call `renumber` once it has started."""
        return self._runs.popleft() if self._runs else None

    def renumber(self) -> None:
        """Report the new position of every run that moved."""
        for position, run in enumerate(self._runs, start=1):
            if run.view.queue_position != position:
                self._change(run, QueueMoved(position=position))
