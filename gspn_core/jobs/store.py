"""The folder of each job: what it is (job.json) and its stages' pictures. Only this touches them."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gspn_core.errors import GspnError
from gspn_core.jobs.files import replacing
from gspn_core.jobs.images import FORMAT, picture_info, versions, write_png, write_proxy, write_sidecar
from gspn_core.jobs.job import Ended, JobView, StageView, fold
from gspn_core.jobs.tiles import write_tiles
from gspn_core.plan import CascadePlan, Size, StagePlan

_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_FILES = ("proxy_path", "tiles_path", "png_path")


class Store:
    """Jobs on disk, under one folder that holds a folder per job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.versions = versions()

    def folder_of(self, job_id: str) -> Path:
        """Return the folder of a job; raise GspnError for an id that could lead elsewhere."""
        if not isinstance(job_id, str) or not _ID.fullmatch(job_id):
            raise unknown_job(job_id)
        return self.folder / job_id

    def open_job(self, job_id: str) -> None:
        """Make the folder of a job; raise OSError where that cannot be."""
        self.folder_of(job_id).mkdir(parents=True, exist_ok=True)

    def stage_file(self, job_id: str, stage: int, size: Size, ending: str) -> Path:
        """Return where a file of a stage lies, such as stage-2-1024x1024.png."""
        return self.folder_of(job_id) / f"stage-{stage}-{size.width}x{size.height}.{ending}"

    def write_proxy(self, job_id: str, stage: StagePlan, image: Image) -> Path:
        """Write a stage's small JPEG and return its path; raise OSError where that cannot be."""
        path = self.stage_file(job_id, stage.index, stage.size, "jpg")
        write_proxy(path, image)
        return path

    def write_tiles(self, job_id: str, stage: StagePlan, image: Image) -> Path:
        """Write a stage's tiles and return their folder; raise OSError where that cannot be."""
        folder = self.stage_file(job_id, stage.index, stage.size, "tiles")
        write_tiles(folder, image)
        return folder

    def write_picture(
        self, job_id: str, plan: CascadePlan, stage: StagePlan, image: Image, **measured: Any
    ) -> Path:
        """Write a stage's sidecar and PNG and return the PNG's path; raise OSError where that cannot be.

        measured: what the sidecar tells beyond the settings, such as seconds.
        """
        info = picture_info(plan, stage.index, self.versions)
        write_sidecar(self.stage_file(job_id, stage.index, stage.size, "json"), info, **measured)
        path = self.stage_file(job_id, stage.index, stage.size, "png")
        write_png(path, image, info)
        return path

    def finished_pictures(self) -> dict[str, Path]:
        """Return the PNG of every finished stage of every readable job by the stage's key."""
        pictures = {}
        for record in sorted(self.folder.glob("*/job.json"), key=lambda path: path.stat().st_mtime):
            try:
                stages = self.read_job(record.parent.name).stages
            except GspnError:
                continue
            pictures |= {stage.key: Path(stage.png_path) for stage in stages if stage.key and stage.png_path}
        return pictures

    def write_job(self, view: JobView) -> None:
        """Write job.json: the view, with names in place of paths, and versions; raise OSError on failure."""
        values = dataclasses.replace(view, preview=None).to_dict()
        for stage in values["stages"]:
            stage.update({key: Path(stage[key]).name for key in _FILES if stage[key]})
        record = {"format": FORMAT, "versions": self.versions, "view": values}
        with replacing(self.folder_of(view.id) / "job.json") as stream:
            stream.write(json.dumps(record, indent=1).encode())

    def read_job(self, job_id: str) -> JobView:
        """Return a job as it was last written; one that was cut off is told as failed.

        Raises GspnError where there is no such job or its record is damaged.
        """
        folder = self.folder_of(job_id)
        try:
            record = json.loads((folder / "job.json").read_bytes())
            view = JobView.from_dict(record["view"])
        except OSError:
            raise unknown_job(job_id) from None
        except (ValueError, KeyError, TypeError):
            raise GspnError(f"The record of run {job_id} is damaged; run it again.") from None
        view = dataclasses.replace(view, stages=tuple(_located(stage, folder) for stage in view.stages))
        if view.is_final:
            return view
        cut_off = "The server ended while this run was going; finished stages are kept, run it again."
        return fold(view, Ended(state="failed", error=cut_off))

    def prune(self, keep_bytes: int, is_protected: Callable[[str], bool]) -> tuple[str, ...]:
        """Remove the oldest jobs until the rest fit into keep_bytes; return the ids of those removed.

        is_protected: asked for an id right before its removal, as a run may begin meanwhile.
        """
        if not self.folder.is_dir():
            return ()
        jobs = [_weight(record.parent) for record in self.folder.glob("*/job.json")]
        total = sum(size for _, size, _ in jobs)
        removed = []
        for _, size, path in sorted(jobs):
            if total <= keep_bytes:
                break
            if _ID.fullmatch(path.name) and not is_protected(path.name):
                shutil.rmtree(path, ignore_errors=True)
                total -= size
                removed.append(path.name)
        return tuple(removed)


def unknown_job(job_id: Any) -> GspnError:
    """Return the error for a run that is not here."""
    return GspnError(f"There is no run {str(job_id)[:64]!r} here; it was removed, or the link is incomplete.")


def _weight(folder: Path) -> tuple[float, int, Path]:
    """Return when a job's folder last changed, how many bytes its files hold, and the folder."""
    newest, size = 0.0, 0
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        newest, size = max(newest, status.st_mtime), size + status.st_size
    return newest, size, folder


def _located(stage: StageView, folder: Path) -> StageView:
    paths = {key: folder / Path(name).name for key in _FILES if (name := getattr(stage, key))}
    found = {key: str(path) if path.exists() else None for key, path in paths.items()}
    return dataclasses.replace(stage, **found)
