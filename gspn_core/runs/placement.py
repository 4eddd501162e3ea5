"""Which worker runs which of the waiting runs. Pure: callers hold the queue's lock.

One worker takes the runs in the order in which they were submitted. Several take them visitor by visitor:
next is the run of whoever has the fewest runs on the workers, a visitor's own in their order. A run that
shares a stage with one that is being drawn waits for that picture, and others go ahead of it meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gspn_core.runs.run_state import LiveRun


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a worker has at hand from its last run: its fused LoRA files and the keys of its stages."""

    loras: str = ""
    stages: frozenset[str] = frozenset()


NOTHING = Held()


class Place(Protocol):
    """A worker as placement sees it. job: the run that it draws, None if it is idle."""

    job: LiveRun | None
    held: Held


def held_after(run: LiveRun) -> Held:
    """Return what a worker has at hand once it has drawn a run."""
    return Held(
        loras=run.plan.settings.loras, stages=frozenset(stage.key for stage in run.to_run.stages if stage.key)
    )


def fitness(held: Held, run: LiveRun) -> tuple[bool, int]:
    """Return how well a worker suits a run, a larger value the better: same LoRA files, common stages."""
    common = sum(stage.key in held.stages for stage in run.to_run.stages)
    return held.loras == run.plan.settings.loras, common


def in_turn(waiting: Sequence[LiveRun], drawn: Iterable[LiveRun]) -> list[LiveRun]:
    """Return the waiting runs in the order of several workers, given the runs that are being drawn."""
    running = Counter(run.owner for run in drawn)
    own: dict[str, list[LiveRun]] = {}
    for run in waiting:
        own.setdefault(run.owner, []).append(run)
    order: list[LiveRun] = []
    while own:
        # The first of equals is whoever was first to wait.
        owner = min(own, key=lambda name: running[name])
        order.append(own[owner].pop(0))
        running[owner] += 1
        if not own[owner]:
            del own[owner]
    return order


def is_blocked(run: LiveRun, live: Iterable[LiveRun]) -> bool:
    """Return whether a run needs a picture that one of the runs that have begun is about to draw."""
    keys = {stage.key for stage in run.to_run.stages if stage.key}
    for other in live:
        if run.id in other.draws:
            return True
        if any(stage.key in keys and not stage.digest for stage in other.view.stages):
            return True
    return False


def place(
    waiting: Sequence[LiveRun], workers: Sequence[Place], live: Sequence[LiveRun]
) -> dict[int, LiveRun]:
    """Return the runs that idle workers are to take now, by the worker's number in `workers`.

    Args:
        waiting: the runs that wait, in the order in which they were submitted.
        workers: all of them.
        live: the runs that have begun and whose files are not all written.
    """
    idle = [number for number, worker in enumerate(workers) if worker.job is None]
    if not idle or not waiting:
        return {}
    if len(workers) == 1:
        return {0: waiting[0]}
    drawn = [worker.job for worker in workers if worker.job is not None]
    placed: dict[int, LiveRun] = {}
    begun = list(live)
    for run in in_turn(waiting, drawn):
        if not idle:
            break
        # A stage of a run that is placed now is not drawn by another at the same time.
        if is_blocked(run, begun):
            continue
        number = max(idle, key=lambda one: fitness(workers[one].held, run))
        idle.remove(number)
        placed[number] = run
        begun.append(run)
    return placed
