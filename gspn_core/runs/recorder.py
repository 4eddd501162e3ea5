"""Writes a run's files while it runs: its record, and each stage's thumb, proxy, tiles and PNG.

Small files are written at once, tiles and PNG by a writer thread, in the order in which stages end. The first
file that cannot be written ends the run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from PIL.Image import Image

from gspn_core.errors import GspnError
from gspn_core.events import StageDone
from gspn_core.files import write_failure
from gspn_core.images.load import digest
from gspn_core.planning.types import CascadePlan, StagePlan
from gspn_core.runs.archive import Archive
from gspn_core.runs.run import Ended, FileWritten, StageReused
from gspn_core.runs.run_state import LiveRun
from gspn_core.runs.stage_cache import StageCache
from gspn_core.runs.store import Store
from gspn_core.runs.threads import show_thread_name

# Names of its threads, by number.
WRITER = "gspn-writer"

_log = logging.getLogger(__name__)


class Recorder:
    """Writes the files of runs. change: applies events to a job's view."""

    def __init__(
        self, store: Store, archive: Archive, finished: StageCache, change: Callable[..., None]
    ) -> None:
        self._store, self._archive, self._finished, self._change = store, archive, finished, change
        self._writer = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix=WRITER, initializer=show_thread_name
        )

    def open(self, job: LiveRun) -> None:
        """Create a run's folder and write its record; raise GspnError if that fails."""
        with self._store.writing(job.id):
            try:
                self._archive.open(job.view, job.owner)
            except OSError as error:
                raise GspnError(write_failure("The record of this run", error)) from error
            self.save(job)

    def open_waiting(self, job: LiveRun) -> None:
        """Open the record of a run that is to wait; one that cannot be written fails when its turn comes."""
        try:
            self.open(job)
        except GspnError as error:
            _log.warning("%s", error)

    def save(self, job: LiveRun) -> None:
        """Write a run's current record; raise GspnError if that fails."""
        try:
            with self._store.writing(job.id):
                self._store.write_job(job.view)
                self._archive.update(job.view)
        except OSError as error:
            raise GspnError(write_failure("The record of this run", error)) from error

    def stage_done(self, job: LiveRun, event: StageDone) -> None:
        """Show a finished stage and write it; raise GspnError if its small files cannot be written."""
        memory = event.memory
        measured = {
            "seconds": event.seconds,
            "peak_bytes": memory.peak_bytes,
            "memory_kind": memory.kind,
            "created": time.time(),
        }
        self._keep(job, event, event.stage, event.image, measured)

    def has_all(self, plan: CascadePlan) -> bool:
        """Return whether every picture of a plan is cached; the files are not read."""
        return len(self._finished.reusable(plan)) == len(plan.stages)

    def keep(self, done: StageDone) -> None:
        """Keep a stage that was drawn for a run that is still to come."""
        self._finished.keep(done)

    def reuse(self, job: LiveRun) -> list[Image]:
        """Return the cached pictures of the run's first stages, and show those stages as done."""
        pictures: list[Image] = []
        for reuse in self._finished.reusable(job.to_run):
            stage = job.plan.stages[reuse.stage]
            image = self._finished.picture(stage.key, stage.size)
            if image is None:
                break
            pictures.append(image)
            source = {"reused_from": reuse.job_id} if reuse.job_id else {"seconds": reuse.saved_seconds}
            measured = {**source, "created": time.time()}
            event = StageReused(
                stage=stage.index,
                saved_seconds=reuse.saved_seconds,
                processor_seconds=reuse.processor_seconds,
            )
            self._keep(job, event, stage, image, measured)
        return pictures

    def made(self, job: LiveRun) -> list[Image]:
        """Return the pictures of a run's finished stages once they are written, as far as they are there."""
        written = threading.Event()
        self.when_written(job, lambda _job: written.set())
        written.wait()
        pictures: list[Image] = []
        for stage, shown in zip(job.to_run.stages, job.view.stages, strict=False):
            image = self._finished.picture(stage.key, stage.size) if shown.state == "done" else None
            if image is None:
                break
            pictures.append(image)
        return pictures

    def finish(self, job: LiveRun) -> None:
        """Write the last files of a run that has ended; if that fails, the run has failed."""
        if job.write_error is not None and job.view.state != "failed":
            self._change(job, Ended(state="failed", error=job.write_error))
        try:
            self.save(job)
        except GspnError as error:
            # The record on disk is behind, and a restart would show it.
            self._change(job, Ended(state="failed", error=str(error)))
        except Exception:
            _log.exception("The record of run %s could not be written", job.id)
        self._archive.update(job.view, weigh=True)

    def when_written(self, job: LiveRun, then: Callable[[LiveRun], None]) -> None:
        """Call `then` once all files of the run so far are written."""
        # The writer works in order, so this comes after every picture of the run.
        try:
            self._writer.submit(then, job)
        except RuntimeError:
            then(job)

    def close(self, *, wait: bool) -> None:
        """Accept no more files; wait: until all accepted ones are written."""
        self._writer.shutdown(wait=wait)

    def _keep(
        self, job: LiveRun, event: StageDone | StageReused, stage: StagePlan, image: Image, measured: dict
    ) -> None:
        try:
            path = self._store.write_proxy(job.id, stage, image)
            self._store.write_thumb(job.id, image)
        except OSError as error:
            self._change(job, event)
            raise GspnError(write_failure(f"The picture of {stage.size}", error)) from error
        self._change(job, event, FileWritten(stage=stage.index, kind="proxy", path=str(path)))
        self.save(job)
        # The plan of this stage; by the time of writing, it may have changed for the next one.
        self._writer.submit(self._write_picture, job, job.plan, stage, image, measured)

    def _write_picture(
        self, job: LiveRun, plan: CascadePlan, stage: StagePlan, image: Image, measured: dict
    ) -> None:
        try:
            tiles = self._store.write_tiles(job.id, stage, image)
            self._change(job, FileWritten(stage=stage.index, kind="tiles", path=str(tiles)))
            path = self._store.write_picture(job.id, plan, stage, image, **measured)
            seal = digest(image)
        except OSError as error:
            job.write_error = write_failure(f"The picture of {stage.size}", error)
            job.stop.set()
            return
        except Exception:
            _log.exception("The picture of run %s, stage %d could not be written", job.id, stage.index)
            job.write_error = f"The picture of {stage.size} could not be written; see the server's log."
            job.stop.set()
            return
        self._change(job, FileWritten(stage=stage.index, kind="png", path=str(path), digest=seal))
        self._finished.add(job.view)
        # So that a restarted server finds the picture even if this one is killed now.
        try:
            self.save(job)
        except GspnError as error:
            job.write_error = str(error)
            job.stop.set()
