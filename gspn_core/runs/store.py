"""The folder of each job: its record (job.json) and its stages' pictures. Nothing else accesses them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gspn_core.errors import GspnError
from gspn_core.files import remove_folder, remove_leftovers, replacing, weight_of
from gspn_core.images.png import (
    FORMAT,
    THUMB_PX,
    picture_info,
    versions,
    write_png,
    write_proxy,
    write_sidecar,
)
from gspn_core.images.tiles import write_tiles
from gspn_core.planning.types import CascadePlan, Size, StagePlan
from gspn_core.runs.locks import KeyedLocks
from gspn_core.runs.records import DAMAGED, check_record, read_json
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import Ended, RunView, StageView

_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_FILES = ("proxy_path", "tiles_path", "png_path")
# Names of files in a job's folder; a folder with only these belongs to a job that lost its record.
_OURS = re.compile(
    r"(job|about)\.json|thumb\.jpg|stage-\d+-\d+x\d+\.(png|jpg|json|tiles|webp|jpeg)|film\.webp|pair-[0-9a-f]{32}\.(json|png)"
    r"|\..+\.(part|old)"
)
_ARCHIVES = "studies/*/study.zip"


class Store:
    """The jobs on disk: one folder that has a folder per job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._runs = KeyedLocks("run")

    def writing(self, job_id: str) -> AbstractContextManager[None]:
        """Return a context in which only the current thread writes or removes a job's files."""
        return self._runs.hold(job_id)

    def folder_of(self, job_id: str) -> Path:
        """Return the folder of a job; raise GspnError for an id that could lead elsewhere."""
        if not isinstance(job_id, str) or not _ID.fullmatch(job_id):
            raise unknown_job(job_id)
        return self.folder / job_id

    def open_job(self, job_id: str) -> None:
        """Create the folder of a job; raise OSError on failure."""
        self.folder_of(job_id).mkdir(parents=True, exist_ok=True)

    def stage_file(self, job_id: str, stage: int, size: Size, ending: str) -> Path:
        """Return the path of a file of a stage, such as stage-2-1024x1024.png."""
        return self.folder_of(job_id) / f"stage-{stage}-{size.width}x{size.height}.{ending}"

    def write_proxy(self, job_id: str, stage: StagePlan, image: Image) -> Path:
        """Write a stage's small JPEG and return its path; raise OSError on failure."""
        path = self.stage_file(job_id, stage.index, stage.size, "jpg")
        write_proxy(path, image)
        return path

    def write_tiles(self, job_id: str, stage: StagePlan, image: Image) -> Path:
        """Write a stage's tiles and return their folder; raise OSError on failure."""
        folder = self.stage_file(job_id, stage.index, stage.size, "tiles")
        write_tiles(folder, image)
        return folder

    def write_picture(
        self, job_id: str, plan: CascadePlan, stage: StagePlan, image: Image, **measured: Any
    ) -> Path:
        """Write a stage's sidecar and PNG and return the PNG's path; raise OSError on failure.

        measured: entries of the sidecar in addition to the settings, such as seconds.
        """
        info = picture_info(plan, stage.index, versions())
        write_sidecar(self.stage_file(job_id, stage.index, stage.size, "json"), info, **measured)
        path = self.stage_file(job_id, stage.index, stage.size, "png")
        write_png(path, image, info)
        return path

    def job_ids(self) -> tuple[str, ...]:
        """Return the ids of all jobs, with or without a record, earliest written first."""
        found = []
        for folder in self.folder.glob("*"):
            with suppress(OSError):
                if _ID.fullmatch(folder.name) and _is_job(folder):
                    record = folder / "job.json"
                    found.append(((record if record.exists() else folder).stat().st_mtime, folder.name))
        return tuple(name for _, name in sorted(found))

    def write_thumb(self, job_id: str, image: Image) -> None:
        """Write the thumbnail of a run for lists; raise OSError on failure."""
        write_proxy(self.thumb_file(job_id), image, THUMB_PX)

    def thumb_file(self, job_id: str) -> Path:
        """Return the path of a run's thumbnail."""
        return self.folder_of(job_id) / "thumb.jpg"

    def write_about(self, job_id: str, about: Mapping[str, Any]) -> None:
        """Write the owner, favourite mark and note of a run; raise OSError on failure."""
        with replacing(self.folder_of(job_id) / "about.json") as stream:
            stream.write(json.dumps(about, indent=1).encode())

    def read_about(self, job_id: str) -> dict[str, Any]:
        """Return what `write_about` wrote, {} if it is missing or damaged."""
        try:
            about = read_json(self.folder_of(job_id) / "about.json")
        except (OSError, *DAMAGED):
            return {}
        return about if isinstance(about, dict) else {}

    def weight(self, job_id: str) -> int:
        """Return the size of a job's files in bytes, 0 if it is gone."""
        return weight_of(self.folder_of(job_id))

    def weight_of_others(self, job_ids: Collection[str]) -> int:
        """Return the size in bytes of everything in the folder that does not belong to these jobs."""
        with suppress(OSError):
            return sum(weight_of(path) for path in self.folder.iterdir() if path.name not in job_ids)
        return 0

    def remove_job(self, job_id: str) -> None:
        """Remove a job with all its files, at once."""
        remove_folder(self.folder_of(job_id))

    def remove_leftovers(self) -> None:
        """Remove files of removed jobs that could not be removed at the time."""
        remove_leftovers(self.folder)

    def remove_copies(self, job_ids: Collection[str]) -> None:
        """Remove the archives of studies that contain pictures of jobs; they can be made again."""
        names = [job_id.encode() for job_id in job_ids]
        for archive in self.folder.glob(_ARCHIVES):
            with suppress(OSError):
                record = (archive.parent / "study.json").read_bytes()
                if any(name in record for name in names):
                    archive.unlink()

    def remove_archives(self, byte_count: int) -> int:
        """Remove archives of studies, oldest first, until that many bytes are free; return how many are."""
        found = []
        for archive in self.folder.glob(_ARCHIVES):
            with suppress(OSError):
                found.append((archive.stat().st_mtime, archive.stat().st_size, archive))
        freed = 0
        for _, size, archive in sorted(found):
            if freed >= byte_count:
                break
            with suppress(OSError):
                archive.unlink()
                freed += size
        return freed

    def write_job(self, view: RunView) -> None:
        """Write job.json: the view with file names for paths, and versions; raise OSError on failure."""
        values = dataclasses.replace(view, preview=None).to_dict()
        for stage in values["stages"]:
            stage.update({key: Path(stage[key]).name for key in _FILES if stage[key]})
        record = {"format": FORMAT, "versions": versions(), "view": values}
        with replacing(self.folder_of(view.id) / "job.json") as stream:
            stream.write(json.dumps(record, indent=1).encode())

    def read_job(self, job_id: str) -> RunView:
        """Return a job as it was last written; one that had not ended is read as interrupted.

        Raises GspnError if there is no such job or its record is damaged.
        """
        folder = self.folder_of(job_id)
        try:
            view = RunView.from_dict(read_json(folder / "job.json")["view"])
            _check(view)
            # The folder's name is the run's id: a copy under another name is another run.
            stages = tuple(_located(stage, folder) for stage in view.stages)
            view = dataclasses.replace(view, id=job_id, stages=stages)
        except OSError:
            raise unknown_job(job_id) from None
        except DAMAGED as error:
            raise DamagedRecord(f"The record of run {job_id} is damaged; run it again.") from error
        if view.is_final:
            return view
        cut_off = "The server ended while this run was going; finished stages are kept, resume it."
        return apply_event(view, Ended(state="interrupted", error=cut_off))


class DamagedRecord(GspnError):
    """A record on disk that is not what was written."""


def unknown_job(job_id: Any) -> GspnError:
    """Return the error for a run that is not here."""
    return GspnError(f"There is no run {str(job_id)[:64]!r} here; it was removed, or the link is incomplete.")


def _check(view: RunView) -> None:
    """Raise ValueError or TypeError if a record lacks what readers of a view rely on."""
    check_record(view)
    if view.version < 0 or not (view.stage is None or 0 <= view.stage < len(view.stages)):
        raise ValueError("version or stage")
    if [stage.index for stage in view.stages] != list(range(len(view.stages))):
        raise ValueError("stages")


def _is_job(folder: Path) -> bool:
    """Return whether a folder has a job's record, or nothing but leftovers of a job."""
    if (folder / "job.json").exists():
        return True
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return bool(names) and all(map(_OURS.fullmatch, names))


def _located(stage: StageView, folder: Path) -> StageView:
    paths = {key: folder / Path(name).name for key in _FILES if (name := getattr(stage, key))}
    found = {key: str(path) if path.exists() else None for key, path in paths.items()}
    return dataclasses.replace(stage, **found)
