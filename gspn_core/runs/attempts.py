"""One run on a worker: its record, its cached stages, the engine, and how it ended or failed."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from PIL.Image import Image

from gspn_core.errors import GspnError, Stopped, WorkerLost
from gspn_core.events import CascadeDone, Event, PictureDone, PlanReady, Retried, StageDone
from gspn_core.planning.together import plan_together
from gspn_core.planning.types import StagePlan
from gspn_core.runs.batch import drawn_alike, of_seed
from gspn_core.runs.init_images import InitImages
from gspn_core.runs.recorder import Recorder
from gspn_core.runs.run import Ended, Replanned
from gspn_core.runs.run_state import LiveRun, first_stage_of
from gspn_core.runs.worker import Worker

_UNFINISHED = "The run ended before its last stage; the server's log has the details."
_LOST_TWICE = "The worker of this run was lost twice; the server's log has the details. Run it again."
_log = logging.getLogger(__name__)


class Attempts:
    """Runs jobs, each on one worker at a time.

    change: applies events to a job's view. learn: called with a job and the
    index of each finished stage.
    """

    def __init__(
        self,
        recorder: Recorder,
        starts: InitImages,
        *,
        change: Callable[..., None],
        learn: Callable[[LiveRun, int], None],
    ) -> None:
        self._recorder, self._starts = recorder, starts
        self._change, self._learn = change, learn
        # The batch whose pictures did not fit into memory at once.
        self._too_large: str | None = None

    def run(self, job: LiveRun, worker: Worker, waiting: Sequence[LiveRun] = ()) -> Ended | None:
        """Run a job to its end; return how it ended, None if it reached its target.

        A job whose worker was lost before goes on from its last finished stage.

        Args:
            job: the run.
            worker: draws it.
            waiting: the runs of its batch that are to follow; where memory allows, they are drawn with it.

        Raises:
            WorkerLost: the worker was lost for the first time in this run, which another one can go on with.
        """
        try:
            finished = self._recorder.made(job) if job.losses else self._begin(job, worker)
            if len(finished) == len(job.to_run.stages):
                self._change(job, CascadeDone(seconds=0.0))
                return None
            options: dict[str, Any] = {"finished": finished} if finished else {}
            for name, reference in job.plan.pictures.items():
                options[name] = self._starts.picture(reference, name)
            others = {} if finished else self._drawn_with(job, waiting)
            if others:
                options["more_seeds"] = tuple(others)
            with closing(worker.run(job.to_run, job.stop.is_set, **options)) as events:
                for event in events:
                    self._take(job, event, others)
        except WorkerLost as error:
            _log.warning("Run %s: %s", job.id, error)
            worker.left, job.losses = True, job.losses + 1
            if not job.stop.is_set():
                if job.losses == 1:
                    raise
                return Ended(state="failed", error=_LOST_TWICE)
        except Stopped:
            if job.write_error is None:
                return Ended(state="stopped")
        except GspnError as error:
            _log.warning("Run %s failed: %s", job.id, error)
            return Ended(state="failed", error=str(error))
        except (Exception, SystemExit) as error:
            _log.exception("Run %s failed", job.id)
            sentence = f"The run failed inside ({type(error).__name__}); the server's log has the details."
            return Ended(state="failed", error=sentence)
        if job.write_error is not None:
            return Ended(state="failed", error=job.write_error)
        if job.view.is_final:
            return None
        return Ended(state="stopped") if job.stop.is_set() else Ended(state="failed", error=_UNFINISHED)

    def _begin(self, job: LiveRun, worker: Worker) -> list[Image]:
        """Open a job's record, settle its plan and return the cached pictures of its first stages."""
        self._recorder.open(job)
        self._settle_plan(job, worker)
        return self._recorder.reuse(job)

    def _settle_plan(self, job: LiveRun, worker: Worker) -> None:
        """Set a job's final plan before cached stages are looked up; a job that needs no run keeps its own.

        Raises what `final_plan` raises.
        """
        if self._recorder.has_all(job.to_run):
            return
        plan = plan_together(job.plan)
        if not (job.view.picture and self._recorder.has_all(first_stage_of(plan))):
            final = worker.final_plan(job.plan, job.stop.is_set)
            plan = plan_together(final) if job.plan.stages[0].together else final
        if plan != job.plan:
            job.plan = plan
            self._change(job, Replanned(plan=job.to_run))

    def _drawn_with(self, job: LiveRun, waiting: Sequence[LiveRun]) -> dict[int, StagePlan]:
        """Return the first stages by seed that can be drawn with a job's and are not cached."""
        own = job.plan.stages[0]
        if job.view.batch == self._too_large:
            return {}
        plans = [run.to_run for run in waiting if drawn_alike(run.plan.stages[0], own)]
        together = [plan_together(plan) for plan in plans if not self._recorder.has_all(plan)]
        return {plan.settings.seed: plan.stages[0] for plan in together if not self._recorder.has_all(plan)}

    def _take(self, job: LiveRun, event: Event, others: Mapping[int, StagePlan]) -> None:
        if job.write_error is not None:
            raise GspnError(job.write_error)
        if isinstance(event, PictureDone):
            self._recorder.keep(of_seed(event.done, others[event.seed]))
            return
        if isinstance(event, (PlanReady, Retried)):
            rest = job.plan.stages[len(event.plan.stages) :]
            job.plan = dataclasses.replace(event.plan, stages=(*event.plan.stages, *rest))
        if not isinstance(event, StageDone):
            self._change(job, event)
            return
        self._recorder.stage_done(job, event)
        if others and event.together == 1:
            self._too_large = job.view.batch
        if event.together == 1:
            self._learn(job, event.stage.index)
        if job.stop_after_stage and event.stage.index + 1 < len(job.plan.stages):
            job.stop.set()
