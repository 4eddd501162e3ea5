"""One run on the device, from its record and what it reuses to how it ended; whatever goes wrong is said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from gspn_core.errors import GspnError, Stopped
from gspn_core.events import CascadeDone, Event, PlanReady, Retried, StageDone
from gspn_core.runs.init_images import InitImages
from gspn_core.runs.recorder import Recorder
from gspn_core.runs.run import Ended
from gspn_core.runs.run_state import LiveRun

Run = Callable[..., Generator[Event, None, None]]
_UNFINISHED = "The run ended before its last stage; the server's log has the details."
_log = logging.getLogger(__name__)


class Attempts:
    """Runs jobs one after the other. change: folds events into a job's view; learn: called with a job and the
    index of each finished stage.
    """

    def __init__(
        self,
        run: Run,
        recorder: Recorder,
        starts: InitImages,
        *,
        change: Callable[..., None],
        learn: Callable[[LiveRun, int], None],
    ) -> None:
        self._run, self._recorder, self._starts = run, recorder, starts
        self._change, self._learn = change, learn

    def run(self, job: LiveRun) -> Ended | None:
        """Run a job to its end; return how it ended, None where it reached its target."""
        try:
            self._recorder.open(job)
            finished = self._recorder.reuse(job)
            if len(finished) == len(job.plan.stages):
                self._change(job, CascadeDone(seconds=0.0))
                return None
            options: dict[str, Any] = {"finished": finished} if finished else {}
            if job.plan.settings.start:
                options["start"] = self._starts.picture(job.plan.settings.start)
            # Resolved settings plan to the same plan again, seed included.
            with closing(self._run(job.plan.settings, job.stop.is_set, **options)) as events:
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
