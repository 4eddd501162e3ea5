"""Runs studies: one cell at a time as an ordinary job, stored on disk, stopped and resumed.

A study has a folder under `studies` in the jobs' folder. Its cells are jobs like any other: they wait in the
queue, use cached stages, and stay when the study is removed.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gspn_core.errors import Busy, GspnError, NotOwner
from gspn_core.files import remove_folder, remove_leftovers
from gspn_core.planning.types import StagePlan
from gspn_core.runs.archive import owner_of
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.records import DAMAGED, why
from gspn_core.settings import Settings
from gspn_core.studies.axis import MAX_CELLS, Axis
from gspn_core.studies.cell import Adherence, ended, going
from gspn_core.studies.live import LiveStudy, in_lanes, place_of
from gspn_core.studies.study import Cost, Draft, StudyView, cost, draft
from gspn_core.studies.study_record import FILE, StudyRecord, read_study, waiting_again, write_study

MAX_RUNNING = 8
MAX_RUNNING_EACH = 3
MAX_KEPT, MAX_KEPT_EACH = 500, 100
_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_BUSY_SECONDS = 2.0
_VIEW_SECONDS = 0.25
_log = logging.getLogger(__name__)


class Studies:
    """The studies of one jobs folder.

    Args:
        jobs: the queue that runs the cells.
        calls_of: returns a stage's evaluations of the UNet, None if unknown yet.
        adherence: returns the share of its prompt that a picture shows; None to leave that figure out.
        most_cells: that a study may have.
    """

    def __init__(
        self,
        jobs: RunQueue,
        *,
        calls_of: Callable[[StagePlan], float | None] = lambda _stage: None,
        adherence: Adherence | None = None,
        most_cells: int = MAX_CELLS,
    ) -> None:
        self._jobs, self._most_cells = jobs, most_cells
        self._adherence = adherence
        self._calls_of = calls_of
        self.folder = jobs.folder / "studies"
        remove_leftovers(self.folder)
        self._changed = threading.Condition(OrderedLock("studies"))
        self._live: dict[str, LiveStudy] = {}
        # Damaged studies that were logged already.
        self._damaged: set[str] = set()

    @property
    def tells_adherence(self) -> bool:
        """Return whether cells have an adherence to their prompt."""
        return self._adherence is not None

    def draft(self, base: Settings, axes: Sequence[Axis]) -> Draft:
        """Plan a study without starting it; raise BadSetting if a cell cannot run."""
        spread = self._jobs.workers.lanes > 1
        return draft(base, axes, self._jobs.plan, most_cells=self._most_cells, spread=spread)

    def cost(self, planned: Draft) -> Cost:
        """Return the cost of a study: stages, UNet evaluations and seconds."""
        there = {
            plan.stages[reuse.stage].key for plan in planned.plans for reuse in self._jobs.reusable(plan)
        }
        return cost(
            planned.plans,
            is_there=lambda stage: stage.key in there,
            calls_of=self._calls_of,
            seconds_of=self._jobs.stage_seconds,
            workers=self._jobs.workers.count,
        )

    def start(self, planned: Draft, *, visitor: str = "") -> str:
        """Start a study and return its id; raise Busy if too many run, GspnError for a full disk."""
        view = StudyView(
            id=secrets.token_urlsafe(16),
            created=time.time(),
            base=planned.base.to_dict(),
            axes=planned.axes,
            cells=planned.cells,
            order=planned.order,
        )
        live = LiveStudy(view=view, owner=owner_of(visitor))
        with self._changed:
            self._refuse_too_many(live.owner)
            self._read_all()
            live.order = max((other.order for other in self._live.values()), default=-1) + 1
            self._save(live)
            self._live[view.id] = live
            self._run(live, visitor)
            self._prune()
        return view.id

    def resume(self, study_id: str, *, visitor: str = "") -> None:
        """Resume a study that was stopped or interrupted; its unfinished cells wait again."""
        with self._changed:
            live = self._own(study_id, visitor)
            if live.view.state == "running" and not live.stop.is_set():
                return
            if live.view.state != "running":
                self._refuse_too_many(live.owner)
            cells = waiting_again(live.view)
            self._change(live, live.view.changed(cells=cells, state="running", notice=""))
            self._run(live, visitor)

    def stop(self, study_id: str, *, visitor: str = "") -> None:
        """Stop a study and its current run; finished cells stay.

        Anyone with its id can stop a study made without a token.
        """
        with self._changed:
            live = self._own(study_id, visitor, or_ownerless=True)
            live.stop.set()
            running, token = list(live.jobs.values()), live.visitor
            self._changed.notify_all()
        # The last ones first, or those that wait would start in between.
        for job_id in reversed(running):
            self._jobs.stop(job_id, visitor=token)

    def skip(self, study_id: str, number: int, *, visitor: str = "") -> None:
        """Skip a waiting cell, or stop the running one; the others go on."""
        with self._changed:
            live = self._own(study_id, visitor)
            cell = self._cell(live, number)
            if cell.state not in ("waiting", "running"):
                return
            running, token = live.jobs.get(number) if cell.state == "running" else None, live.visitor
            self._change(live, live.view.with_cell(number, state="skipped"))
        if running is not None:
            self._jobs.stop(running, visitor=token)

    def retry(self, study_id: str, number: int, *, visitor: str = "") -> None:
        """Queue a failed or skipped cell again, and resume the study."""
        with self._changed:
            live = self._own(study_id, visitor)
            if self._cell(live, number).state not in ("failed", "skipped"):
                return
            self._change(live, live.view.with_cell(number, state="waiting", error=None, progress=0.0))
        self.resume(study_id, visitor=visitor)

    def delete(self, study_id: str, *, visitor: str = "") -> None:
        """Remove a study that is not running; the runs of its cells stay in the history."""
        with self._changed:
            live = self._own(study_id, visitor)
            if live.view.state == "running":
                raise GspnError("This grid is still going; stop it first, then remove it.")
            self._live.pop(study_id, None)
        remove_folder(self.folder_of(study_id))

    def list(self, visitor: str) -> tuple[StudyView, ...]:
        """Return a visitor's own studies, newest first."""
        owner = owner_of(visitor)
        if not owner:
            return ()
        with self._changed:
            self._read_all()
            found = [live for live in self._live.values() if live.owner == owner]
        return tuple(live.view for live in sorted(found, key=place_of, reverse=True))

    def is_own(self, study_id: str, visitor: str) -> bool:
        """Return whether a visitor may change a study; raise GspnError if there is no such study."""
        owner = owner_of(visitor)
        with self._changed:
            return bool(owner) and self._find(study_id).owner == owner

    def view(self, study_id: str) -> StudyView:
        """Return the view of a study; raise GspnError if there is no such study."""
        with self._changed:
            return self._find(study_id).view

    def follow(self, study_id: str) -> Iterator[StudyView]:
        """Yield a study's views, the current one first, until it no longer runs; raise GspnError for none."""
        seen = -1
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._has_news, study_id, seen))
                view, last = self._find(study_id).view, not self._is_running(study_id)
            if view.version != seen:
                seen = view.version
                yield view
            if last:
                return
            with self._changed:
                self._changed.wait_for(lambda: not self._is_running(study_id), _VIEW_SECONDS)

    def folder_of(self, study_id: str) -> Path:
        """Return the folder of a study; raise GspnError for an id that could be a path."""
        if not isinstance(study_id, str) or not _ID.fullmatch(study_id):
            raise _unknown(study_id)
        return self.folder / study_id

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Stop every study; to be called before the jobs are closed."""
        with self._changed:
            threads = [live.thread for live in self._live.values() if live.thread is not None]
            running = [live for live in self._live.values() if live.view.state == "running"]
            for live in running:
                live.stop.set()
            self._changed.notify_all()
        for live in running:
            for job_id in reversed(list(live.jobs.values())):
                self._jobs.stop(job_id, visitor=live.visitor)
        for thread in threads:
            thread.join(timeout_seconds)

    def _run(self, live: LiveStudy, visitor: str) -> None:
        live.visitor, live.stop = visitor, threading.Event()
        live.thread = threading.Thread(
            target=self._work, args=(live, live.stop, live.thread), name="gspn-study", daemon=True
        )
        live.thread.start()

    def _work(self, live: LiveStudy, stop: threading.Event, before: threading.Thread | None) -> None:
        if before is not None:
            # It was asked to stop, and a cell has only one run at a time.
            before.join()
        while True:
            in_lanes(self._jobs.workers.lanes, partial(self._run_cells, live, stop))
            with self._changed:
                if live.stop is not stop:
                    return
                # Under the lock of the search for the next cell, so that no newly waiting cell is missed.
                if stop.is_set() or live.view.next_cell() is None:
                    live.visitor = ""
                    state = "stopped" if live.view.next_cell() is not None else "done"
                    self._change(live, live.view.changed(state=state, notice=""))
                    return

    def _run_cells(self, live: LiveStudy, stop: threading.Event) -> None:
        """Run one cell after another, as long as one waits."""
        while True:
            with self._changed:
                number = None if stop.is_set() or live.stop is not stop else live.take()
            if number is None:
                return
            try:
                self._attempt_cell(live, number, stop)
            finally:
                with self._changed:
                    live.give_back(number)

    def _attempt_cell(self, live: LiveStudy, number: int, stop: threading.Event) -> None:
        """Run a cell; an error is stored in the cell, and the others go on."""
        try:
            self._run_cell(live, number, stop)
            return
        except GspnError as refusal:
            error = str(refusal)
        except Exception as failure:
            _log.exception("Cell %d of study %s failed", number, live.view.id)
            error = f"The cell failed inside ({type(failure).__name__}); the server's log has the details."
        with self._changed:
            if live.view.cells[number].state in ("waiting", "running"):
                self._change(live, live.view.with_cell(number, state="failed", error=error))

    def _run_cell(self, live: LiveStudy, number: int, stop: threading.Event) -> None:
        token = live.visitor
        try:
            job_id = self._jobs.submit(Settings.from_dict(live.view.cells[number].settings), visitor=token)
        except Busy as full:
            with self._changed:
                self._change(live, live.view.changed(notice=str(full)))
                self._changed.wait_for(stop.is_set, _BUSY_SECONDS)
            return
        with self._changed:
            live.jobs[number] = job_id
            view = live.view.with_cell(number, state="running", job_id=job_id, progress=0.0, stage=None)
            self._change(live, replace(view, notice=""))
        if stop.is_set():
            self._jobs.stop(job_id, visitor=token)
        last = None
        with closing(self._jobs.follow(job_id)) as views:
            for last in views:
                with self._changed:
                    if live.view.cells[number].state == "running":
                        self._change(live, live.view.with_cell(number, **going(last)), keep=False)
        with self._changed:
            live.jobs.pop(number, None)
        if last is None:
            return
        # Measuring pictures takes time, so not while holding the lock.
        end = ended(last, stopped=stop.is_set(), adherence=self._adherence)
        with self._changed:
            # A cell that was skipped while it ran stays skipped, however its run ended.
            if live.view.cells[number].state == "running":
                self._change(live, live.view.with_cell(number, **end))

    def _change(self, live: LiveStudy, view: StudyView, *, keep: bool = True) -> None:
        live.view = view
        if keep:
            try:
                self._save(live)
            except GspnError as error:
                _log.warning("%s", error)
                live.view = view.changed(notice=str(error))
        self._changed.notify_all()

    def _save(self, live: LiveStudy) -> None:
        record = StudyRecord(view=live.view, owner=live.owner, order=live.order)
        write_study(self.folder_of(live.view.id), record)

    def _find(self, study_id: str) -> LiveStudy:
        live = self._live.get(study_id)
        if live is not None:
            return live
        try:
            record = read_study(self.folder_of(study_id))
        except OSError:
            raise _unknown(study_id) from None
        except DAMAGED as error:
            if study_id not in self._damaged:
                self._damaged.add(study_id)
                _log.warning("The record of study %s is damaged (%s); it stays.", study_id, why(error))
            raise GspnError(f"The record of grid {study_id} is damaged; start it again.") from None
        self._live[study_id] = LiveStudy(view=record.view, owner=record.owner, order=record.order)
        return self._live[study_id]

    def _own(self, study_id: str, visitor: str, *, or_ownerless: bool = False) -> LiveStudy:
        live = self._find(study_id)
        if or_ownerless and not live.owner:
            return live
        owner = owner_of(visitor)
        if not owner or live.owner != owner:
            raise NotOwner("Only the browser that started this grid can change it.")
        return live

    def _cell(self, live: LiveStudy, number: Any) -> Any:
        if not isinstance(number, int) or not 0 <= number < len(live.view.cells):
            raise GspnError(f"This grid has {len(live.view.cells)} cells, there is no cell {number}.")
        return live.view.cells[number]

    def _has_news(self, study_id: str, seen: int) -> bool:
        return self._find(study_id).view.version != seen or not self._is_running(study_id)

    def _is_running(self, study_id: str) -> bool:
        live = self._live.get(study_id)
        return live is not None and live.view.state == "running"

    def _refuse_too_many(self, owner: str) -> None:
        running = [live for live in self._live.values() if live.view.state == "running"]
        own = sum(live.owner == owner for live in running)
        if own >= MAX_RUNNING_EACH:
            raise Busy(f"You have {own} running grids, the maximum; stop one or wait for it.")
        if len(running) >= MAX_RUNNING:
            raise Busy(f"The maximum of {len(running)} grids is running; try again later.")

    def _read_all(self) -> None:
        """Read every study on disk; those with a damaged record are left out and logged."""
        for record in self.folder.glob(f"*/{FILE}"):
            with suppress(GspnError):
                self._find(record.parent.name)

    def _prune(self) -> None:
        """Remove the oldest studies beyond the limits per visitor and for all; their runs stay."""
        by_age = sorted(self._live.values(), key=place_of)
        own = Counter(live.owner for live in by_age if live.owner)
        excess = len(by_age) - MAX_KEPT
        for live in by_age:
            too_many = own[live.owner] > MAX_KEPT_EACH
            if (excess > 0 or too_many) and live.view.state != "running":
                del self._live[live.view.id]
                remove_folder(self.folder_of(live.view.id))
                excess -= 1
                own[live.owner] -= 1


def _unknown(study_id: Any) -> GspnError:
    return GspnError(
        f"There is no grid {str(study_id)[:64]!r} here; it was removed, or the link is incomplete."
    )
