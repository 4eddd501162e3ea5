"""The run queue: workers run what waits, runs go on without followers, anyone can follow any run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from gspn_core.errors import Busy, GspnError, NotOwner
from gspn_core.events import Event
from gspn_core.files import FolderClaim
from gspn_core.images.png import read_picture
from gspn_core.planning.plan import check_fits, redo
from gspn_core.planning.types import CascadePlan, StagePlan
from gspn_core.runs.archive import Archive, RunSummary, owner_of
from gspn_core.runs.attempts import Attempts
from gspn_core.runs.batch import Batches, going_on
from gspn_core.runs.disk_space import DiskSpace
from gspn_core.runs.downloads import Downloads
from gspn_core.runs.estimate import planned_seconds
from gspn_core.runs.examples import is_example
from gspn_core.runs.init_images import InitImages
from gspn_core.runs.instant import InstantPictures
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.pairs import PairFigures, Pairs
from gspn_core.runs.recorder import Recorder
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import Ended, JobEvent, RunView, StageView, StopAsked
from gspn_core.runs.run_state import LiveRun
from gspn_core.runs.stage_cache import CacheHit, StageCache
from gspn_core.runs.store import Store
from gspn_core.runs.timings import Timings
from gspn_core.runs.waiting import WaitingLine
from gspn_core.runs.worker import FinalPlan, Run, Worker, as_planned
from gspn_core.runs.workers import Workers
from gspn_core.settings import Settings

_KEPT_IN_MEMORY = 100
_log = logging.getLogger(__name__)


class RunQueue:
    """Runs plans, one at a time on each worker, and stores their pictures.

    Args:
        run: a function like `Engine.run`, called with a plan, should_stop and `finished`: the worker in this
            process; None where there is none, and all workers join.
        folder: where runs are stored.
        plan: makes the plan of settings when a run is submitted.
        final_plan: called with it when the run's turn comes; waits for the engine and returns what to run.
        max_queued: how many runs may wait; one visitor may have half of them.
        keep_bytes: quota; beyond it the oldest runs are removed, but no waiting ones and no favourites.
        view_seconds: the least time between two views of a follower; more if a run has many followers.
        timings: what stages took; runs add to it, and estimates are based on it.
    """

    def __init__(
        self,
        run: Run | None,
        folder: str | Path,
        *,
        plan: Callable[[Settings], CascadePlan],
        final_plan: FinalPlan = as_planned,
        max_queued: int = 20,
        keep_bytes: int = 20 * 2**30,
        view_seconds: float = 0.25,
        timings: Timings | None = None,
    ) -> None:
        self.plan = plan
        self._store = Store(Path(folder))
        self._claim = FolderClaim(self._store.folder)
        self._store.remove_leftovers()
        self._archive = Archive(self._store, quota_bytes=keep_bytes)
        self._finished = StageCache()
        for job_id in self._store.job_ids():
            self._finished.add(self._archive.view(job_id))
        self._starts = InitImages(self._store.folder / "starts", self._archive.starts)
        self._starts.sweep()
        timings = timings or Timings(self._store.folder)
        self._view_seconds, self._timings = view_seconds, timings
        self._recorder = Recorder(self._store, self._archive, self._finished, self._change)
        attempts = Attempts(self._recorder, self._starts, change=self._change, learn=timings.learn)
        self._pairs = Pairs()
        kept = (self._store, self._archive, self._finished, self._pairs, self._starts)
        self._room = DiskSpace(*kept, keep_bytes=keep_bytes, is_needed=self._is_needed, on_removed=self._drop)
        self.downloads = Downloads(self.view, self._room.count)
        self._jobs: dict[str, LiveRun] = {}
        self._waiting = WaitingLine(max_queued, self._change)
        # One lock and a condition per run, so that a step of one run does not wake the followers of others.
        self._lock = OrderedLock("queue")
        self.workers = Workers(
            self._lock,
            self._waiting,
            attempts,
            are_several=run is None,
            change=self._change,
            on_end=lambda job: self._recorder.when_written(job, self._close_job),
        )
        if run is not None:
            self.workers.join(Worker(name="this process", run=run, final_plan=final_plan))
        self._closed = False
        self.batches = Batches(
            self, self._lock, self._waiting, self._starts, self._recorder, self._archive, self._enter
        )
        self.instant = InstantPictures(self._finished, plan, self.workers.device, lambda: self.is_taken)

    @property
    def folder(self) -> Path:
        """Return the absolute folder in which runs are stored."""
        return self._store.folder

    @property
    def is_busy(self) -> bool:
        """Return whether a run waits or is running."""
        with self._lock:
            return any(not job.settled for job in self._jobs.values())

    @property
    def is_taken(self) -> bool:
        """Return whether there is no worker to spare: with one, while a run waits or is running."""
        return self.is_busy and (self.workers.count < 2 or not self.workers.has_idle)

    def device(self) -> AbstractContextManager[Worker]:
        """Reserve an idle worker for a `with` block, in which it takes no run; raise Busy if none is idle."""
        return self.workers.device()

    def claim(self) -> None:
        """Claim the folder until `close`; raise GspnError if another server uses it."""
        self._claim.take()

    def submit(
        self, asked: Settings | CascadePlan, *, visitor: str = "", seed_drawn: bool = False, batch: str = ""
    ) -> str:
        """Queue a run and return its id.

        Args:
            asked: the plan to run, or settings, which are planned now.
            visitor: the visitor's token (see `gspn_core.runs.archive`), "" for none.
            seed_drawn: a plan's seed was left open; settings say so themselves.
            batch: the batch that the run goes on from a picture of.

        Raises:
            BadSetting: the settings cannot be run.
            Busy: the queue is full, or closing.
        """
        plan = asked if isinstance(asked, CascadePlan) else self.plan(asked)
        check_fits(plan)
        for name, reference in plan.pictures.items():
            self._starts.check(reference, name)
        seed_drawn = seed_drawn or (isinstance(asked, Settings) and asked.seed is None)
        job = LiveRun.waiting(
            plan, owner=owner_of(visitor), seed_drawn=seed_drawn, lock=self._lock, batch=batch
        )
        # Held until the record is written, so that nothing ends or removes this run before.
        with self._store.writing(job.id):
            self._enter([job])
            self._recorder.open_waiting(job)
        return job.id

    def _enter(self, jobs: Sequence[LiveRun]) -> None:
        with self._lock:
            if self._closed:
                raise Busy("The server is closing; try again when it is back.")
            self._waiting.add(*jobs)
            self._jobs |= {job.id: job for job in jobs}
            self.workers.renumber()
            self.workers.wake()

    def resume(self, job_id: str, *, visitor: str = "") -> str:
        """Run a run's settings again from its last finished stage; return the new run's id."""
        return self.extend(job_id, self.view(job_id).settings.get("target"), visitor=visitor)

    def extend(self, job_id: str, target: int | None, *, visitor: str = "") -> str:
        """Continue a run to a higher target in px; return the new run's id. Raises BadSetting."""
        view = self.view(job_id)
        plan = going_on(self.plan(Settings.from_dict({**view.settings, "target": target})), view)
        return self.submit(plan, visitor=visitor, batch=view.batch)

    def redo(self, job_id: str, stage: int, settings: Settings, *, visitor: str = "") -> str:
        """Run a run's stages from `stage` on again with `settings`; see `gspn_core.planning.plan.redo`."""
        view = self.view(job_id)
        settings = redo(self.plan(Settings.from_dict(view.settings)), stage, settings, self.plan)
        return self.submit(going_on(self.plan(settings), view), visitor=visitor)

    def take_start(self, path: str | Path, name: str, *, visitor: str = "") -> str:
        """Store the picture in a file as an init image; return its reference. Raises BadSetting."""
        reference = self._starts.take(Path(path), name, owner_of(visitor))
        self._room.make()
        return reference

    def start_from(self, job_id: str, stage: int, *, visitor: str = "") -> str:
        """Store a stage's picture as an init image; return its reference. Raises GspnError."""
        found = self._stage(job_id, stage)
        image = read_picture(Path(found.png_path)) if found.png_path else None
        if image is None:
            raise GspnError("This stage's picture is not written yet; wait a moment, then try again.")
        return self._starts.put(image, owner_of(visitor))

    def start_proxy(self, reference: str) -> Path | None:
        """Return the small JPEG of an init image; None if it is not stored here."""
        return self._starts.proxy(reference)

    def reusable(self, plan: CascadePlan) -> tuple[CacheHit, ...]:
        """Return the cache hits of a plan: its leading stages that would not run again."""
        return self._finished.reusable(plan)

    def compare(self, one: tuple[str, int], other: tuple[str, int]) -> PairFigures:
        """Compare two stages, each given by a run's id and a stage's index."""
        figures = self._pairs.figures(self._stage(*one), self._stage(*other))
        # The comparison is stored with the first run's files.
        self._room.count(one[0])
        return figures

    def _stage(self, job_id: str, index: int) -> StageView:
        stages = self.view(job_id).stages
        if not 0 <= index < len(stages):
            raise GspnError(f"This run has {len(stages)} stages, there is no stage {index + 1}.")
        return stages[index]

    def stage_seconds(self, stage: StagePlan, calls: float) -> float | None:
        """Return the seconds of a stage with that many UNet evaluations; None if unknown."""
        return planned_seconds(stage, calls, self._timings.all())

    def wait_seconds(self, job_id: str) -> float | None:
        """Return the seconds until a run that waits starts, None while that is unknown."""
        with self._lock:
            views = [job.view for job in self._jobs.values()]
            return self._waiting.seconds_before(job_id, views, self.workers.count)

    def view(self, job_id: str) -> RunView:
        """Return the view of a run; raise GspnError if there is no such run."""
        with self._lock:
            job = self._jobs.get(job_id)
        return self._store.read_job(job_id) if job is None else job.view

    def thumb_file(self, job_id: str) -> Path:
        """Return the path of a run's thumbnail."""
        return self._store.thumb_file(job_id)

    def follow(self, job_id: str) -> Generator[RunView, None, None]:
        """Return a generator of a run's views: the current one, then the newest after each change.

        It ends when the run has ended and its pictures are written. Closing it does not stop the run. Raises
        GspnError at once if there is no such run.
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            return (view for view in (self._store.read_job(job_id),))
        return job.views(self._view_seconds, is_closed=lambda: self._closed)

    def is_of_another(self, job_id: str, visitor: str) -> bool:
        """Return whether a run that has not ended has an owner, and another one than this visitor."""
        with self._lock:
            job = self._jobs.get(job_id)
            return job is not None and not job.view.is_final and job.owner not in ("", owner_of(visitor))

    def stop(self, job_id: str, *, visitor: str = "", after_stage: bool = False) -> None:
        """Stop a run: a waiting one at once, a running one within a step; an ended one is not changed.

        Args:
            visitor: the visitor's token; anyone can stop a run that was made without one.
            after_stage: finish the current stage first.

        Raises:
            NotOwner: the run has not ended and belongs to another visitor.
            GspnError: there is no such run.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None and job.owner not in ("", owner_of(visitor)) and not job.view.is_final:
                raise NotOwner("Only the browser that started this run can stop it.")
            left_queue = job is not None and self._stop(job, after_stage=after_stage)
        if job is None:
            # A run that is only on disk has ended; an unknown id is still refused.
            self._store.read_job(job_id)
        if left_queue:
            self._recorder.when_written(job, self._close_job)

    def history(
        self, visitor: str, *, limit: int = 100, before: float | None = None
    ) -> tuple[RunSummary, ...]:
        """Return a visitor's own runs, newest first; before: only those created before that time."""
        return self._archive.history(owner_of(visitor), limit=limit, before=before)

    def annotate(
        self, job_id: str, visitor: str, *, favourite: bool | None = None, note: str | None = None
    ) -> None:
        """Set the favourite mark or note of a visitor's own run; raise GspnError for another's."""
        self._archive.annotate(job_id, owner_of(visitor), favourite=favourite, note=note)

    def delete(self, job_id: str, visitor: str) -> None:
        """Remove a visitor's own run with its files; raise GspnError for another's or a live one."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None and not job.settled:
                raise GspnError("This run is still going; stop it first, then remove it.")
        # A settled run stays settled, and a run that is only on disk does not start again.
        self._room.forget([self._archive.delete(job_id, owner_of(visitor))])

    def usage(self, visitor: str) -> tuple[int, int, int]:
        """Return the bytes of a visitor's own runs, of the whole folder, and the quota."""
        return self._room.usage(owner_of(visitor))

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Stop all runs and wait for the device and the last files; no run is accepted afterwards."""
        with self._lock:
            self._closed = True
            left_queue = [job for job in self._jobs.values() if self._stop(job)]
            for job in self._jobs.values():
                self._wake(job)
            threads = self.workers.stop_taking()
        self.instant.close(timeout_seconds)
        for job in left_queue:
            self._recorder.when_written(job, self._close_job)
        deadline = time.monotonic() + timeout_seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._recorder.close(wait=not any(thread.is_alive() for thread in threads))
        self._claim.release()

    def _stop(self, job: LiveRun, *, after_stage: bool = False) -> bool:
        """Stop a run; return whether it left the queue, and is to be closed outside of the lock."""
        if job.view.is_final:
            return False
        if job in self._waiting:
            self._waiting.remove(job)
            job.stop.set()
            self._change(job, Ended(state="stopped"))
            self.workers.renumber()
            return True
        if after_stage and job.view.stopping is None:
            job.stop_after_stage = True
            self._change(job, StopAsked(after_stage=True))
        elif not after_stage:
            job.stop.set()
            if job.view.stopping != "now":
                self._change(job, StopAsked())
        return False

    def _change(self, job: LiveRun, *events: Event | JobEvent) -> None:
        """Apply events to a job's view as one change and wake its followers."""
        timings = self._timings.all()
        with self._lock:
            for event in events:
                job.view = apply_event(job.view, event, elapsed_seconds=job.elapsed(), timings=timings)
            self._wake(job)

    def _wake(self, job: LiveRun) -> None:
        job.changed.notify_all()
        if job.settled or self._closed or job.view.is_final:
            job.ended.notify_all()

    def _close_job(self, job: LiveRun) -> None:
        """Write the last files of a run that has ended, and remove the oldest runs beyond the quota."""
        try:
            self._recorder.finish(job)
        finally:
            # Whatever went wrong, followers must not wait for ever.
            with self._lock:
                job.settled = True
                self._wake(job)
                self.workers.settled(job)
        try:
            self._room.make(job.id)
        except Exception:
            _log.exception("No room could be made after run %s", job.id)
        with self._lock:
            self._drop([other.id for other in self._jobs.values() if other.settled][:-_KEPT_IN_MEMORY])

    def _is_needed(self, job_id: str) -> bool:
        with self._lock:
            job = self._jobs.get(job_id)
        return is_example(job_id) or (job is not None and not job.settled)

    def _drop(self, job_ids: Iterable[str]) -> None:
        with self._lock:
            for job_id in job_ids:
                self._jobs.pop(job_id, None)
