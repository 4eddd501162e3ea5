"""A run that waits or runs: its current view, and the state that threads share."""

from __future__ import annotations

import contextvars
import dataclasses
import secrets
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from gspn_core.planning.types import CascadePlan
from gspn_core.runs.reducer import planned
from gspn_core.runs.run import RunView

# Up to this many followers of a run get views at the full rate; more share the rate of these.
_FULL_RATE_FOLLOWERS = 5


def first_stage_of(plan: CascadePlan) -> CascadePlan:
    """Return a plan without the stages after the first; its settings stay."""
    return dataclasses.replace(plan, stages=plan.stages[:1])


@dataclass(kw_only=True, eq=False)
class LiveRun:
    """A run of this server. `settled`: its view will not change any more.

    owner: see `gspn_core.runs.archive`. stop_after_stage: `stop` is to be set once the current stage is done.
    write_error: the message for a file that could not be written, which ends the run. changed, ended:
    notified when the view changes and when the run has ended. followers: how many follow the run now.
    draws: the ids of the runs whose first stages it is to draw with its own. losses: how often its worker was
    lost.
    """

    plan: CascadePlan
    context: contextvars.Context
    view: RunView
    changed: threading.Condition
    ended: threading.Condition
    owner: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    stop_after_stage: bool = False
    began: float | None = None
    write_error: str | None = None
    settled: bool = False
    followers: int = 0
    draws: frozenset[str] = frozenset()
    losses: int = 0

    @classmethod
    def waiting(
        cls,
        plan: CascadePlan,
        *,
        owner: str,
        seed_drawn: bool,
        lock: threading.Lock,
        batch: str = "",
        picture: int = 0,
    ) -> LiveRun:
        """Return a new run with a new id, about to wait. lock: of its conditions."""
        blank = RunView(
            id=secrets.token_urlsafe(16),
            created=time.time(),
            seed_drawn=seed_drawn,
            batch=batch,
            picture=picture,
        )
        return cls(
            plan=plan,
            context=contextvars.copy_context(),
            view=planned(blank, first_stage_of(plan) if picture else plan),
            owner=owner,
            changed=threading.Condition(lock),
            ended=threading.Condition(lock),
        )

    @property
    def id(self) -> str:
        """Return the run's id."""
        return self.view.id

    @property
    def to_run(self) -> CascadePlan:
        """Return what is run of the plan: of a batch's picture the first stage."""
        return first_stage_of(self.plan) if self.view.picture else self.plan

    def elapsed(self) -> float | None:
        """Return the seconds since the run started; None before that and after its end."""
        return None if self.began is None or self.view.is_final else time.monotonic() - self.began

    def pause(self, view_seconds: float) -> float:
        """Return the seconds between two views of a follower; view_seconds is that of a single follower."""
        return view_seconds * max(1.0, self.followers / _FULL_RATE_FOLLOWERS)

    def views(self, view_seconds: float, *, is_closed: Callable[[], bool]) -> Generator[RunView, None, None]:
        """Yield the current view, then the newest after each change, until the run has settled.

        Args:
            view_seconds: the least time between two views of a single follower.
            is_closed: returns whether the server is closing; called with the lock held.
        """
        with self.changed:
            self.followers += 1
        try:
            yield from self._newest(view_seconds, is_closed)
        finally:
            with self.changed:
                self.followers -= 1

    def _newest(self, view_seconds: float, is_closed: Callable[[], bool]) -> Generator[RunView, None, None]:
        seen = -1
        while True:
            with self.changed:
                self.changed.wait_for(lambda v=seen: self.view.version != v or self._over(is_closed))
                view, last = self.view, self._over(is_closed)
            if view.version != seen:
                seen = view.version
                yield view
            if last:
                return
            with self.ended:
                # A page cannot draw every step of a small stage, so wait and send only the newest view.
                self.ended.wait_for(
                    lambda: self._over(is_closed) or self.view.is_final, self.pause(view_seconds)
                )

    def _over(self, is_closed: Callable[[], bool]) -> bool:
        return self.settled or is_closed()
