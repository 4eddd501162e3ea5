"""One run on the device: its record, its cached stages, the engine, and how it ended or failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from gspn_core.errors import GspnError, Stopped
from gspn_core.events import CascadeDone, Event, PlanReady, Retried, StageDone
from gspn_core.planning.types import CascadePlan
from gspn_core.runs.init_images import InitImages
from gspn_core.runs.recorder import Recorder
from gspn_core.runs.run import Ended, Replanned
from gspn_core.runs.run_state import LiveRun

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

    def run(self, job: LiveRun) -> Ended | None:
        """Run a job to its end; return how it ended, None if it reached its target."""
        try:
            self._recorder.open(job)
            self._settle_plan(job)
            finished = self._recorder.reuse(job)
            if len(finished) == len(job.plan.stages):
                self._change(job, CascadeDone(seconds=0.0))
                return None
            options: dict[str, Any] = {"finished": finished} if finished else {}
            if job.plan.settings.start:
                options["start"] = self._starts.picture(job.plan.settings.start)
            with closing(self._run(job.plan, job.stop.is_set, **options)) as events:
                for event in events:
                    self._take(job, event)
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
        if self._recorder.has_all(job.plan):
            return
        plan = self._final_plan(job.plan, job.stop.is_set)
        if plan != job.plan:
            job.plan = plan
            self._change(job, Replanned(plan=plan))

    def _take(self, job: LiveRun, event: Event) -> None:
        if job.write_error is not None:
            raise GspnError(job.write_error)
        if isinstance(event, (PlanReady, Retried)):
            job.plan = event.plan
        if not isinstance(event, StageDone):
            self._change(job, event)
            return
        self._recorder.stage_done(job, event)
        self._learn(job, event.stage.index)
        if job.stop_after_stage and event.stage.index + 1 < len(job.plan.stages):
            job.stop.set()
