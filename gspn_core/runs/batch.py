"""Batches: the first stages of several seeds, or of variations of one, each a run of its own.

A visitor takes one of them up the cascade.

The runs of a batch have its name in their records. Each ends after its first stage; it keeps all settings, so
that resuming it goes on to their target. Where memory allows, one of them draws the stages of those that wait
behind it with its own, and they find them in the stage cache.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from gspn_core.errors import BadSetting, Busy, GspnError
from gspn_core.events import StageDone
from gspn_core.planning.costs import MOST_PICTURES
from gspn_core.planning.plan import check_fits
from gspn_core.planning.together import plan_together
from gspn_core.planning.types import CascadePlan, StagePlan
from gspn_core.runs.archive import Archive, owner_of
from gspn_core.runs.init_images import InitImages
from gspn_core.runs.run import RunView
from gspn_core.runs.run_state import LiveRun, first_stage_of
from gspn_core.runs.waiting import WaitingLine
from gspn_core.settings import MAX_SEED, Settings

if TYPE_CHECKING:
    from gspn_core.runs.queue import RunQueue
    from gspn_core.runs.recorder import Recorder

# How many variations of a picture are drawn, and how far from it those of one that is none.
VARIATIONS = 4
VARIATION_STRENGTH = 0.3


def batch_plans(
    plan: Callable[[Settings], CascadePlan], settings: Settings, pictures: int
) -> tuple[CascadePlan, ...]:
    """Return the plan of each picture of a batch, of the seed and those that follow.

    Args:
        plan: makes the plan of settings.
        settings: of the first picture; an open seed is drawn.
        pictures: how many.

    Raises:
        BadSetting: there are too many pictures, they would all be the same, or the settings cannot be run.
    """
    if not 1 <= pictures <= MOST_PICTURES:
        raise BadSetting("pictures", f"pictures must be 1 to {MOST_PICTURES}, got {pictures}.")
    first = plan(settings)
    check_differ(first, pictures)
    made = [first]
    for number in range(1, pictures):
        seed = (first.settings.seed + number) % (MAX_SEED + 1)
        made.append(plan(dataclasses.replace(first.settings, seed=seed)))
    return tuple(made)


def variation_plans(plan: Callable[[Settings], CascadePlan], settings: Settings) -> tuple[CascadePlan, ...]:
    """Return the plans of a picture's variations: those of the variation seeds after its own, or from 1 on.

    Args:
        plan: makes the plan of settings.
        settings: the picture's. Their variation strength is kept, VARIATION_STRENGTH where it is 0.

    Raises:
        BadSetting: they would all be the same, or the settings cannot be run.
    """
    strength = settings.variation_strength or VARIATION_STRENGTH
    before = settings.variation_seed if settings.variation_strength else 0
    seeds = [(before + number) % (MAX_SEED + 1) for number in range(1, VARIATIONS + 1)]
    made = tuple(
        plan(dataclasses.replace(settings, variation_seed=seed, variation_strength=strength))
        for seed in seeds
    )
    stage = made[0].stages[0]
    if not stage.kind.denoises:
        raise BadSetting(
            "variation_strength",
            "variation_strength: an init image that is kept as it is has no noise to vary; set its denoising "
            "strength above 0.",
        )
    if (stage.settings.variation_seed, stage.settings.variation_strength) != (seeds[0], strength):
        raise BadSetting(
            "variation_strength",
            f"variation_strength: an override sets the variation of the stage of {stage.px} px; remove it.",
        )
    return made


def check_differ(first: CascadePlan, pictures: int) -> None:
    """Raise BadSetting where that many pictures would all be the same."""
    stage = first.stages[0]
    if pictures > 1 and not stage.kind.denoises:
        raise BadSetting(
            "pictures",
            "pictures: an init image that is kept as it is gives one first stage; set its denoising strength "
            "above 0, or pictures to 1.",
        )
    if pictures > 1 and stage.settings.seed != first.settings.seed:
        raise BadSetting(
            "pictures",
            f"pictures: an override sets the seed of the stage of {stage.px} px, so that all would be the "
            "same; remove it, or set pictures to 1.",
        )


def drawn_alike(one: StagePlan, other: StagePlan) -> bool:
    """Return whether two first stages differ in nothing but their seed."""
    return _without_seed(one) == _without_seed(other)


def _without_seed(stage: StagePlan) -> StagePlan:
    settings = dataclasses.replace(stage.settings, seed=0)
    measured = {"peak_bytes": None, "seconds": None, "fits": True, "batch_bytes": ()}
    return dataclasses.replace(stage, settings=settings, key="", **measured)


def going_on(plan: CascadePlan, view: RunView) -> CascadePlan:
    """Return the plan of a run that goes on from one whose first stage may have been drawn with others."""
    together = plan_together(plan)
    first = view.stages[0] if view.stages else None
    is_drawn = first is not None and first.state == "done" and first.key == together.stages[0].key
    return together if is_drawn else plan


def of_seed(done: StageDone, stage: StagePlan) -> StageDone:
    """Return a stage that another run has drawn as that of the run that it is meant for."""
    return dataclasses.replace(done, stage=stage)


class Batches:
    """The batches of a queue. Thread-safe.

    Args:
        jobs: the queue.
        lock: of the queue's conditions.
        waiting: its runs that wait.
        starts: the init images.
        recorder: writes the records of runs.
        archive: has the record of every run.
        enter: lets runs wait, all or none.
    """

    def __init__(
        self,
        jobs: RunQueue,
        lock: threading.Lock,
        waiting: WaitingLine,
        starts: InitImages,
        recorder: Recorder,
        archive: Archive,
        enter: Callable[[Sequence[LiveRun]], None],
    ) -> None:
        self._jobs, self._lock, self._waiting, self._starts = jobs, lock, waiting, starts
        self._recorder, self._archive, self._enter = recorder, archive, enter

    def submit(
        self, settings: Settings, pictures: int, *, visitor: str = "", seed_drawn: bool = False
    ) -> tuple[str, ...]:
        """Queue the runs of a batch and return their ids, in the order of their seeds.

        Args:
            settings: of the first picture; the others have the seeds that follow.
            pictures: how many, at most MOST_PICTURES.
            visitor: the visitor's token, "" for none.
            seed_drawn: the seed was left open and drawn before; settings without one say so themselves.

        Raises:
            BadSetting: the settings cannot be run.
            Busy: the queue has not that many places, or is closing; none is queued.
        """
        plans = batch_plans(self._jobs.plan, settings, pictures)
        return self._submit(plans, visitor=visitor, seed_drawn=seed_drawn or settings.seed is None)

    def vary(self, job_id: str, *, visitor: str = "") -> tuple[str, ...]:
        """Queue variations of a run's first stage, see `variation_plans`; return their ids.

        Raises what `submit` raises, and GspnError for a run that is gone.
        """
        settings = Settings.from_dict(self._jobs.view(job_id).settings)
        return self._submit(variation_plans(self._jobs.plan, settings), visitor=visitor, seed_drawn=False)

    def _submit(self, plans: Sequence[CascadePlan], *, visitor: str, seed_drawn: bool) -> tuple[str, ...]:
        """Queue the first stages of plans as one batch and return their ids."""
        for plan in plans:
            check_fits(first_stage_of(plan))
        for name, reference in plans[0].pictures.items():
            self._starts.check(reference, name)
        owner, batch = owner_of(visitor), secrets.token_urlsafe(12)
        with self._lock:
            self._waiting.check(len(plans), owner)
        made = [
            LiveRun.waiting(
                plan,
                owner=owner,
                seed_drawn=seed_drawn,
                lock=self._lock,
                batch=batch,
                picture=picture,
            )
            for picture, plan in enumerate(plans, start=1)
        ]
        for run in made:
            # Before it waits, as no thread holds the locks of two runs.
            self._recorder.open_waiting(run)
        try:
            self._enter(made)
        except Busy:
            # Others took the places in between.
            for run in made if owner else ():
                self._archive.delete(run.id, owner)
            raise
        return tuple(run.id for run in made)

    def cached(self, settings: Settings, pictures: int) -> int:
        """Return how many pictures of a batch need not be drawn; raise BadSetting as `batch_plans`."""
        plans = map(first_stage_of, batch_plans(self._jobs.plan, settings, pictures))
        reusable = self._jobs.reusable
        return sum(bool(reusable(plan) or reusable(plan_together(plan))) for plan in plans)

    def views(self, view: RunView, visitor: str) -> tuple[RunView, ...]:
        """Return the pictures of the batch that a run belongs to, in order, as they stand now.

        Those of other visitors are left out, so that the link of one picture does not show the others.
        """
        if not view.batch or not visitor:
            return ()
        found = []
        for job_id in self._archive.of_batch(view.batch, owner_of(visitor)):
            with suppress(GspnError):
                found.append(self._jobs.view(job_id))
        return tuple(sorted(found, key=lambda one: one.picture))

    def stop(self, job_id: str, *, visitor: str = "") -> None:
        """Stop a run, and with a picture those of its batch that are not drawn; raise as `RunQueue.stop`."""
        view = self._jobs.view(job_id)
        # From the last on, or the next would start in between.
        for other in reversed(self.views(view, visitor) if view.picture else ()):
            if other.id != job_id and not other.is_final:
                self._jobs.stop(other.id, visitor=visitor)
        self._jobs.stop(job_id, visitor=visitor)
