"""The runs that wait for the device, in the order in which they were submitted, and how many there may be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gspn_core.errors import Busy
from gspn_core.runs.run import QueueMoved
from gspn_core.runs.run_state import LiveRun


class WaitingLine:
    """The runs that wait. Whoever calls it holds the queue's lock.

    Args:
        most: How many runs may wait; one visitor has half of that, so that there is room for others.
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
        """Let a run wait behind all others; raise Busy where too many wait."""
        if len(self._runs) >= self._most:
            raise Busy(f"{len(self._runs)} runs wait already, the most there may be; try again later.")
        own = sum(other.owner == run.owner for other in self._runs) if run.owner else 0
        if own >= self._most_each:
            raise Busy(f"{own} of your runs wait already, the most there may be; stop one or wait.")
        self._runs.append(run)
        self.renumber()

    def remove(self, run: LiveRun) -> None:
        """Take a run out of the line; call `renumber` once its own view is changed."""
        self._runs.remove(run)

    def next(self) -> LiveRun | None:
        """Take out the run whose turn it is, None where none waits; call `renumber` once it has begun."""
        return self._runs.popleft() if self._runs else None

    def renumber(self) -> None:
        """Report the new position of every run that moved."""
        for position, run in enumerate(self._runs, start=1):
            if run.view.queue_position != position:
                self._change(run, QueueMoved(position=position))
