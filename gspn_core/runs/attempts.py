"""One run on the device: its record, its cached stages, the engine, and how it ended or failed."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

from gspn_core.errors import GspnError, Stopped
from gspn_core.events import CascadeDone, Event, PictureDone, PlanReady, Retried, StageDone
from gspn_core.planning.together import plan_together
from gspn_core.planning.types import CascadePlan, StagePlan
from gspn_core.runs.batch import drawn_alike, of_seed
from gspn_core.runs.init_images import InitImages
from gspn_core.runs.recorder import Recorder
from gspn_core.runs.run import Ended, Replanned
from gspn_core.runs.run_state import LiveRun, first_stage_of

Run = Callable[..., Generator[Event, None, None]]
FinalPlan = Callable[[CascadePlan, Callable[[], bool]], CascadePlan]
_UNFINISHED = "The run ended before its last stage; the server's log has the details."
_log = logging.getLogger(__name__)


class Attempts:
    """Runs jobs one after the other.

    run, final_plan: see `RunQueue`. change: applies events to a job's view. learn: called with a job and the
    index of each finished stage.
    """

    def __init__(
        self,
        run: Run,
        recorder: Recorder,
        starts: InitImages,
        *,
        final_plan: FinalPlan,
        change: Callable[..., None],
        learn: Callable[[LiveRun, int], None],
    ) -> None:
        self._run, self._recorder, self._starts = run, recorder, starts
        self._final_plan, self._change, self._learn = final_plan, change, learn
        # The batch whose pictures did not fit into memory at once.
        self._too_large: str | None = None

    def run(self, job: LiveRun, waiting: Sequence[LiveRun] = ()) -> Ended | None:
        """Run a job to its end; return how it ended, None if it reached its target.

        waiting: the runs of its batch that are to follow; where memory allows, they are drawn with it.
        """
        try:
            self._recorder.open(job)
            self._settle_plan(job)
            finished = self._recorder.reuse(job)
            if len(finished) == len(job.to_run.stages):
                self._change(job, CascadeDone(seconds=0.0))
                return None
            options: dict[str, Any] = {"finished": finished} if finished else {}
            for name, reference in job.plan.pictures.items():
                options[name] = self._starts.picture(reference, name)
            others = {} if finished else self._drawn_with(job, waiting)
            if others:
                options["more_seeds"] = tuple(others)
            with closing(self._run(job.to_run, job.stop.is_set, **options)) as events:
                for event in events:
                    self._take(job, event, others)
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

    def _settle_plan(self, job: LiveRun) -> None:
        """Set a job's final plan before cached stages are looked up; a job that needs no run keeps its own.

        Raises what `final_plan` raises.
        """
        if self._recorder.has_all(job.to_run):
            return
        plan = plan_together(job.plan)
        if not (job.view.picture and self._recorder.has_all(first_stage_of(plan))):
            final = self._final_plan(job.plan, job.stop.is_set)
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
