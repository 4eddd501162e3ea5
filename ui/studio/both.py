"""Two runs of one form and one seed that differ in their token mixing, compared once both are done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from gspn_core.errors import GspnError
from gspn_core.planning.types import ModelCard
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from ui.studio.props import Patch

_OWN, _RIVAL = "gspn", "attention"


def can_run_both(card: ModelCard) -> bool:
    """Return whether a model has the two mixers."""
    return {_OWN, _RIVAL} <= set(card.mixers)


def submit_both(jobs: RunQueue, settings: Settings, visitor: str) -> tuple[str, str]:
    """Queue a run of settings and one of GSPN, or of self-attention where they say GSPN; return both ids.

    Args:
        jobs: The queue.
        settings: What the form holds; the two have the seed that the first one drew.
        visitor: The token of the visitor's browser.

    Raises:
        GspnError: One of them cannot be run, and so neither is.
    """
    plan = jobs.plan(settings)
    asked = plan.settings
    other = jobs.plan(dataclasses.replace(asked, mixer=_RIVAL if asked.mixer == _OWN else _OWN))
    first = jobs.submit(plan, visitor=visitor, seed_drawn=settings.seed is None)
    try:
        return first, jobs.submit(other, visitor=visitor, seed_drawn=settings.seed is None)
    except GspnError:
        jobs.stop(first, visitor=visitor)
        raise


def follow_both(
    jobs: RunQueue, pair: tuple[str, str], visitor: str, follow: Callable[[str, str], Iterator[Patch]]
) -> Iterator[Patch]:
    """Tell of the first run and then of the second, whose screen names the stage to compare it with.

    Where the first one ends early, there is nothing to compare, and the second is stopped.

    Args:
        jobs: The queue.
        pair: The runs' ids.
        visitor: The token of the visitor's browser.
        follow: Tells of one run to its end.
    """
    first, second = pair
    for patch in follow(first, visitor):
        yield {"job": first} | patch
    done = jobs.view(first)
    if done.state != "done":
        jobs.stop(second, visitor=visitor)
        return
    reference = f"{first}.{len(done.stages) - 1}"
    for patch in follow(second, visitor):
        if "screen" in patch:
            patch = {**patch, "screen": patch["screen"] | {"compare_with": reference}}
        yield {"job": second} | patch
