"""A grid that runs into a folder without a page: begun, resumed where it was cut off, exported.

DIR/index.html, cells.csv, study.json, images/    what the Lab's archive of a study holds
DIR/study.zip                                     that archive
DIR/runs/                                         the cells' runs and stages, as a server keeps them
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gspn_core.errors import BadSetting, CannotWrite, GspnError
from gspn_core.files import write_failure, write_json
from gspn_core.planning.types import ModelCard
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.records import DAMAGED, read_json
from gspn_core.runs.run import RunView
from gspn_core.studies.export import write_export, write_folder
from gspn_core.studies.grid_file import GridAsked, grid_of
from gspn_core.studies.runner import Studies
from gspn_core.studies.study import Draft, StudyView

MOST_CELLS = 1000


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """Which grid a folder has. visitor: the token under which its study and runs are kept."""

    model: str
    fingerprint: str
    visitor: str
    asked: GridAsked


class SweepFolder:
    """A folder for one grid of one model."""

    def __init__(self, folder: Path, card: ModelCard) -> None:
        self.folder, self._card = folder, card
        self.runs = folder / "runs"
        self._file = self.runs / "grid.json"

    def find(self, asked: GridAsked) -> SweepRecord | None:
        """Return the record of this grid, None if the folder is empty; an open seed takes the one drawn.

        Raises:
            BadSetting: The folder has another grid, the same of another model, or other files.
        """
        record = self._read()
        if record is None:
            return None
        if record.asked != _with_seed(asked, record.asked.base.seed):
            raise _refused(f"{self.folder} has another grid; name another folder.")
        if (record.model, record.fingerprint) != (self._card.name, self._card.fingerprint):
            raise _refused(
                f"{self.folder} has this grid of {record.model[:80]} as it was loaded then; name another "
                "folder, or the same model and options."
            )
        return record

    def make(self) -> None:
        """Create the folder; raise CannotWrite."""
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotWrite(write_failure(str(self.folder), error)) from None

    def open(self, asked: GridAsked) -> SweepRecord:
        """Write the record of a grid that begins; raise CannotWrite."""
        record = SweepRecord(
            model=self._card.name,
            fingerprint=self._card.fingerprint,
            asked=asked,
            visitor=secrets.token_urlsafe(24),
        )
        axes = list(map(dataclasses.asdict, asked.axes))
        values = {**vars(record), "asked": {"base": asked.base.to_dict(), "axes": axes}}
        try:
            write_json(self._file, values, indent=1)
        except OSError as error:
            raise CannotWrite(write_failure(str(self._file), error)) from None
        return record

    def _read(self) -> SweepRecord | None:
        try:
            values = read_json(self._file)
            names = {name: str(values[name]) for name in ("model", "fingerprint", "visitor")}
            return SweepRecord(**names, asked=grid_of(values["asked"], self._card))
        except FileNotFoundError:
            return self._refuse_other_files()
        except OSError as error:
            raise self._unreadable(error) from None
        except BadSetting:
            # Another model's sizes may be none of this one's.
            raise _refused(f"{self.folder} has a grid of another model; name another folder.") from None
        except DAMAGED:
            raise _refused(f"{self._file} is damaged; name another folder.") from None

    def _refuse_other_files(self) -> None:
        try:
            is_used = self.folder.exists() and any(path != self.runs for path in self.folder.iterdir())
        except OSError as error:
            raise self._unreadable(error) from None
        if is_used:
            raise _refused(f"{self.folder} has other files; name an empty folder.")

    def _unreadable(self, error: OSError) -> BadSetting:
        return _refused(f"{self.folder} cannot be read ({error.strerror}); name another folder.")


class Sweep:
    """A grid in a folder.

    Args:
        home: The folder.
        jobs: A queue in `home.runs`, which runs the cells. One that hands its runs to several workers can
            take its place.
        studies: The studies of that queue.
    """

    def __init__(self, home: SweepFolder, jobs: RunQueue, studies: Studies) -> None:
        self._home, self._jobs, self._studies = home, jobs, studies
        # The queue keeps a hundred runs in memory, and an export needs those of all cells.
        self._ended: dict[str, RunView] = {}

    def plan(self, asked: GridAsked) -> Draft:
        """Return the grid as it is planned; an open seed is drawn, or was when the folder's grid began.

        Raises:
            BadSetting: A cell cannot run, or the folder has another grid.
        """
        record = self._home.find(asked)
        grid = asked if record is None else record.asked
        return self._studies.draft(grid.base, grid.axes)

    def run(self, planned: Draft, stop: threading.Event) -> Iterator[StudyView]:
        """Start the grid, or resume it where it ended, and yield its views to its end.

        Cells that are done stay; those that failed or were skipped run again.

        Args:
            planned: From `plan`.
            stop: Ends the grid within a step of the cell that runs; set when the grid has ended.

        Raises:
            CannotWrite: The folder cannot be written.
        """
        asked = GridAsked(base=planned.base, axes=planned.axes)
        record = self._home.find(asked) or self._home.open(asked)
        study_id = self._begin(planned, record.visitor)
        # Conditions of threads are not woken by a signal, so the thread that follows does not see a stop.
        threading.Thread(
            target=self._stop_when, args=(stop, study_id, record.visitor), name="gspn-stop", daemon=True
        ).start()
        try:
            yield from self._studies.follow(study_id)
        finally:
            stop.set()

    def export(self, view: StudyView, *, archive: bool) -> None:
        """Write the grid as it is into the folder, and its archive next to it; raise CannotWrite."""
        try:
            write_folder(self._home.folder, view, self._job)
            if archive:
                write_export(self._home.folder / "study.zip", view, self._job)
        except OSError as error:
            raise CannotWrite(write_failure(str(self._home.folder), error)) from error

    def _begin(self, planned: Draft, visitor: str) -> str:
        begun = self._studies.list(visitor)
        if not begun:
            return self._studies.start(planned, visitor=visitor)
        view = begun[0]
        for number, cell in enumerate(view.cells):
            if cell.state in ("failed", "skipped"):
                self._studies.retry(view.id, number, visitor=visitor)
        if view.next_cell() is not None:
            self._studies.resume(view.id, visitor=visitor)
        return view.id

    def _stop_when(self, stop: threading.Event, study_id: str, visitor: str) -> None:
        stop.wait()
        with suppress(GspnError):
            self._studies.stop(study_id, visitor=visitor)

    def _job(self, job_id: str) -> RunView | None:
        """Return the run of a cell that is done, None if it is gone."""
        if job_id not in self._ended:
            try:
                view = self._jobs.view(job_id)
            except GspnError:
                return None
            self._ended[job_id] = dataclasses.replace(view, history=(), weights=())
        return self._ended[job_id]


def _with_seed(asked: GridAsked, seed: int | None) -> GridAsked:
    """Return a grid with an open seed set."""
    if asked.base.seed is not None:
        return asked
    return dataclasses.replace(asked, base=dataclasses.replace(asked.base, seed=seed))


def _refused(sentence: str) -> BadSetting:
    return BadSetting("out", sentence)
