"""The queue: one thread owns the device, runs live on without followers, anybody may follow any run."""

from __future__ import annotations

import contextvars
import functools
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from PIL.Image import Image

from gspn_core.errors import Busy, GspnError, Stopped
from gspn_core.events import CascadeDone, Event, PlanReady, StageDone
from gspn_core.jobs.estimate import Rate, measured_rate
from gspn_core.jobs.files import write_failure
from gspn_core.jobs.images import read_picture
from gspn_core.jobs.job import (
    Ended,
    FileWritten,
    JobEvent,
    JobView,
    QueueMoved,
    RateKey,
    StageReused,
    StopAsked,
    fold,
    planned,
)
from gspn_core.jobs.store import Store
from gspn_core.plan import CascadePlan, StagePlan
from gspn_core.settings import Settings

Run = Callable[..., Generator[Event, None, None]]

_KEPT_IN_MEMORY = 100
_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class _Job:
    """A run's present view, and what its threads share. `settled` means that nothing will change any more."""

    plan: CascadePlan
    context: contextvars.Context
    view: JobView
    stop: threading.Event = field(default_factory=threading.Event)
    began: float | None = None
    write_error: str | None = None
    settled: bool = False

    @property
    def id(self) -> str:
        return self.view.id

    def elapsed(self) -> float | None:
        return None if self.began is None or self.view.is_final else time.monotonic() - self.began


class Jobs:
    """Runs in the order in which they were asked for, one at a time.

    run: the engine's run; its second argument tells whether to stop, and it gets `finished`, the pictures of
    the first stages, where an earlier run has made them. plan: what `submit` refuses bad settings with.
    folder: where pictures go. keep_bytes: the oldest jobs beyond it are removed, never a waiting one.
    """

    def __init__(
        self,
        run: Run,
        folder: str | Path,
        *,
        plan: Callable[[Settings], CascadePlan],
        max_queued: int = 20,
        keep_bytes: int = 20 * 2**30,
    ) -> None:
        self.plan = plan
        self._run = run
        self._store = Store(Path(folder))
        self._max_queued = max_queued
        self._keep_bytes = keep_bytes
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[_Job] = deque()
        self._rates: dict[RateKey, Rate] = {}
        self._pictures = self._store.finished_pictures()
        self._changed = threading.Condition()
        self._saving = threading.Lock()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gspn-writer")
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def folder(self) -> Path:
        """Return the absolute folder under which every picture lies."""
        return self._store.folder

    def submit(self, settings: Settings) -> str:
        """Queue a run and return its id; raise BadSetting for what cannot be, Busy when the queue is full."""
        plan = self.plan(settings)
        blank = JobView(id=secrets.token_urlsafe(16), created=time.time(), seed_drawn=settings.seed is None)
        view = planned(blank, plan)
        job = _Job(plan=plan, context=contextvars.copy_context(), view=view)
        with self._changed:
            if self._closed:
                raise Busy("The server is closing; try again when it is back.")
            if len(self._queue) >= self._max_queued:
                raise Busy(f"{len(self._queue)} runs wait already, the most there may be; try again later.")
            self._jobs[job.id] = job
            self._queue.append(job)
            self._move_queue()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="gspn-worker", daemon=True)
                self._thread.start()
        return job.id

    def view(self, job_id: str) -> JobView:
        """Return a run as it stands; raise GspnError where there is no such run."""
        with self._changed:
            job = self._jobs.get(job_id)
            if job is not None:
                return job.view
        return self._store.read_job(job_id)

    def follow(self, job_id: str) -> Generator[JobView, None, None]:
        """Return a generator of a run's views: the present one, then the newest after each change.

        It ends when the run has ended and its pictures are written. Leaving it leaves the run going. Raises
        GspnError at once where there is no such run.
        """
        with self._changed:
            job = self._jobs.get(job_id)
        if job is None:
            ended = self._store.read_job(job_id)
            return (view for view in (ended,))
        return self._follow(job)

    def stop(self, job_id: str) -> None:
        """Stop a run: one that waits at once, one that runs within a step, an ended one stays as it is.

        Raises GspnError where there is no such run.
        """
        with self._changed:
            job = self._jobs.get(job_id)
            if job is None:
                # What is only on disk has ended; an unknown id is refused all the same.
                self._store.read_job(job_id)
                return
            self._stop(job)

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Stop everything and wait for the device and the last files; no run is taken afterwards."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                self._stop(job)
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout_seconds)
        self._writer.shutdown(wait=thread is None or not thread.is_alive())

    def _stop(self, job: _Job) -> None:
        if job.view.is_final:
            return
        job.stop.set()
        if job in self._queue:
            self._queue.remove(job)
            job.settled = True
            self._change(job, Ended(state="stopped"))
            self._move_queue()
        elif not job.view.stopping:
            self._change(job, StopAsked())

    def _follow(self, job: _Job) -> Generator[JobView, None, None]:
        seen = -1
        while True:
            with self._changed:
                self._changed.wait_for(functools.partial(self._has_news, job, seen))
                view, last = job.view, job.settled or self._closed
            if view.version != seen:
                seen = view.version
                yield view
            if last:
                return

    def _has_news(self, job: _Job, seen: int) -> bool:
        return job.view.version != seen or job.settled or self._closed

    def _change(self, job: _Job, *events: Event | JobEvent) -> None:
        """Fold events into a job's view as one change and wake its followers."""
        with self._changed:
            for event in events:
                job.view = fold(job.view, event, elapsed_seconds=job.elapsed(), rates=self._rates)
            self._changed.notify_all()

    def _move_queue(self) -> None:
        for place, job in enumerate(self._queue, start=1):
            if job.view.queue_position != place:
                self._change(job, QueueMoved(position=place))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                job = self._queue.popleft()
                job.began = time.monotonic()
                self._change(job, QueueMoved(position=0))
                self._move_queue()
            end = job.context.run(self._attempt, job)
            if end is not None:
                self._change(job, end)
            self._settle(job)

    def _attempt(self, job: _Job) -> Ended | None:
        """Run a job to its end; return how it ended, None where it reached its target."""
        try:
            self._save_or_fail(job, open_folder=True)
            finished = self._reuse(job)
            if len(finished) == len(job.plan.stages):
                self._change(job, CascadeDone(seconds=0.0))
                return None
            options = {"finished": finished} if finished else {}
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

    def _take(self, job: _Job, event: Event) -> None:
        if job.write_error is not None:
            raise GspnError(job.write_error)
        if isinstance(event, PlanReady):
            job.plan = event.plan
        if not isinstance(event, StageDone):
            self._change(job, event)
            return
        memory = event.memory
        measured = {
            "seconds": event.seconds,
            "peak_bytes": memory.peak_bytes,
            "memory_kind": memory.kind,
            "created": time.time(),
        }
        self._keep(job, event, event.stage, event.image, measured)
        self._learn(job, event.stage.index)

    def _keep(
        self, job: _Job, event: StageDone | StageReused, stage: StagePlan, image: Image, measured: dict
    ) -> None:
        """Show a finished stage with its proxy; its picture in full is written aside."""
        try:
            path = self._store.write_proxy(job.id, stage, image)
        except OSError as error:
            self._change(job, event)
            raise GspnError(write_failure(f"The picture of {stage.size}", error)) from error
        self._change(job, event, FileWritten(stage=stage.index, kind="proxy", path=str(path)))
        self._save_or_fail(job)
        self._writer.submit(self._write_picture, job, stage, image, measured)

    def _reuse(self, job: _Job) -> list[Image]:
        """Return the pictures of the job's first stages that earlier runs made, and show them as done."""
        pictures: list[Image] = []
        for stage in job.plan.stages:
            path = self._pictures.get(stage.key)
            image = read_picture(path) if path is not None else None
            if image is None or image.size != (stage.size.width, stage.size.height):
                break
            pictures.append(image)
            measured = {"reused": True, "created": time.time()}
            self._keep(job, StageReused(stage=stage.index), stage, image, measured)
        return pictures

    def _learn(self, job: _Job, index: int) -> None:
        stage = job.view.stages[index]
        rate = measured_rate(stage)
        if rate is not None:
            key = (job.plan.model, job.plan.settings.mixer, stage.height, stage.width)
            with self._changed:
                self._rates[key] = rate

    def _write_picture(self, job: _Job, stage: StagePlan, image: Image, measured: dict) -> None:
        try:
            tiles = self._store.write_tiles(job.id, stage, image)
            self._change(job, FileWritten(stage=stage.index, kind="tiles", path=str(tiles)))
            path = self._store.write_picture(job.id, job.plan, stage, image, **measured)
        except OSError as error:
            job.write_error = write_failure(f"The picture of {stage.size}", error)
            job.stop.set()
            return
        except Exception:
            _log.exception("The picture of run %s, stage %d could not be written", job.id, stage.index)
            job.write_error = f"The picture of {stage.size} could not be written; see the server's log."
            job.stop.set()
            return
        self._pictures[stage.key] = path
        self._change(job, FileWritten(stage=stage.index, kind="png", path=str(path)))

    def _save_or_fail(self, job: _Job, *, open_folder: bool = False) -> None:
        try:
            if open_folder:
                self._store.open_job(job.id)
            with self._saving:
                self._store.write_job(job.view)
        except OSError as error:
            raise GspnError(write_failure("The record of this run", error)) from error

    def _settle(self, job: _Job) -> None:
        # The writer takes its tasks in order, so this one finds every picture of the job written.
        try:
            self._writer.submit(self._close_job, job)
        except RuntimeError:
            self._close_job(job)

    def _close_job(self, job: _Job) -> None:
        if job.write_error is not None and job.view.state != "failed":
            self._change(job, Ended(state="failed", error=job.write_error))
        try:
            self._save_or_fail(job)
        except GspnError as error:
            _log.warning("%s", error)
        with self._changed:
            job.settled = True
            self._changed.notify_all()
        removed: tuple[str, ...] = ()
        try:
            removed = self._store.prune(self._keep_bytes, functools.partial(self._is_needed, job))
        except OSError as error:
            _log.warning("Old runs could not be removed: %s", error)
        gone = {key for key, path in list(self._pictures.items()) if path.parent.name in removed}
        for key in gone:
            self._pictures.pop(key, None)
        with self._changed:
            settled = [other.id for other in self._jobs.values() if other.settled]
            for job_id in {*removed, *settled[:-_KEPT_IN_MEMORY]}:
                self._jobs.pop(job_id, None)

    def _is_needed(self, latest: _Job, job_id: str) -> bool:
        with self._changed:
            job = self._jobs.get(job_id)
            return job_id == latest.id or (job is not None and not job.settled)


_UNFINISHED = "The run ended before its last stage; the server's log has the details."
