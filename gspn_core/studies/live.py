"""A study of this server: its view, whose it is, and the threads that run its cells."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from gspn_core.studies.study import StudyView


@dataclass(kw_only=True, eq=False)
class LiveStudy:
    """A study of this server; `visitor` is the token of whoever runs it, known only while it runs.

    order: increases with every study, independent of the clock; -1 if the record has none. taken: the cells
    that threads are at. jobs: the runs of those that have one, by the cell's number.
    """

    view: StudyView
    owner: str
    order: int = -1
    visitor: str = ""
    taken: set[int] = field(default_factory=set)
    jobs: dict[int, str] = field(default_factory=dict)
    # Identifies the thread that runs it; an earlier thread, still at its last step, sees that it changed.
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def take(self) -> int | None:
        """Return the number of the cell to run next, which no other thread takes then; None if none waits."""
        number = self.view.next_cell(self.taken)
        if number is not None:
            self.taken.add(number)
        return number

    def give_back(self, number: int) -> None:
        """Let a cell be taken again, whose run has ended or could not begin."""
        self.taken.discard(number)
        self.jobs.pop(number, None)


def place_of(live: LiveStudy) -> tuple[int, float]:
    """Return the sort key of studies."""
    return live.order, live.view.created


def in_lanes(count: int, lane: Callable[[], None]) -> None:
    """Call `lane` in that many threads at a time, this one among them; return once all calls have."""
    others = [
        threading.Thread(target=lane, name=f"gspn-lane-{number}", daemon=True) for number in range(1, count)
    ]
    for thread in others:
        thread.start()
    lane()
    for thread in others:
        thread.join()
