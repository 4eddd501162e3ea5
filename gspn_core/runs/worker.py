"""A worker: a device that runs plans, one at a time, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from gspn_core.events import Event
from gspn_core.planning.types import CascadePlan
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.placement import NOTHING, Held
from gspn_core.runs.run_state import LiveRun

Run = Callable[..., Generator[Event, None, None]]
FinalPlan = Callable[[CascadePlan, Callable[[], bool]], CascadePlan]


def as_planned(plan: CascadePlan, _should_stop: Callable[[], bool]) -> CascadePlan:
    """Return the plan as it is."""
    return plan


@dataclass(kw_only=True, eq=False)
class Worker:
    """A device that runs plans.

    run: a function like `Engine.run`, called with a plan, should_stop and `finished`; it raises WorkerLost
    where the device is gone. final_plan: called when a run's turn comes; waits for the engine and returns
    what to run. device: held during a run, and by whoever else uses the device. job: the run that it draws.
    held: what it has at hand. left: it takes no further run.
    """

    name: str
    run: Run
    final_plan: FinalPlan = as_planned
    device: OrderedLock = field(default_factory=lambda: OrderedLock("device"))
    job: LiveRun | None = None
    held: Held = NOTHING
    left: bool = False
    thread: threading.Thread | None = None
