"""The pictures of finished stages by their key, checked against their digest when they are read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from gspn_core.images.load import digest
from gspn_core.images.png import read_picture
from gspn_core.planning.types import CascadePlan, Size
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.run import RunView


@dataclass(frozen=True, kw_only=True)
class CacheHit:
    """A stage that need not run: the job that made its picture, and its seconds if known."""

    stage: int
    job_id: str
    saved_seconds: float | None
    processor_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Made:
    job_id: str
    path: Path
    digest: str
    seconds: float | None
    processor_seconds: float | None


class StageCache:
    """Finished stages of all jobs by key; a later one replaces an earlier one with the same key."""

    def __init__(self) -> None:
        self._made: dict[str, _Made] = {}
        self._lock = OrderedLock("cache")

    def add(self, view: RunView) -> None:
        """Add every finished stage of a run."""
        with self._lock:
            for stage in view.stages:
                if stage.key and stage.png_path and stage.digest:
                    seconds = stage.saved_seconds if stage.reused else stage.seconds
                    self._made[stage.key] = _Made(
                        job_id=view.id,
                        path=Path(stage.png_path),
                        digest=stage.digest,
                        seconds=seconds,
                        processor_seconds=stage.processor_seconds,
                    )

    def forget(self, job_ids: Collection[str]) -> None:
        """Drop the pictures of removed jobs."""
        with self._lock:
            self._made = {key: made for key, made in self._made.items() if made.job_id not in job_ids}

    def reusable(self, plan: CascadePlan) -> tuple[CacheHit, ...]:
        """Return the leading stages of a plan whose pictures are cached; the files are not read."""
        found = []
        for stage in plan.stages:
            made = self._made.get(stage.key)
            if made is None or not made.path.is_file():
                break
            found.append(
                CacheHit(
                    stage=stage.index,
                    job_id=made.job_id,
                    saved_seconds=made.seconds,
                    processor_seconds=made.processor_seconds,
                )
            )
        return tuple(found)

    def picture(self, key: str, size: Size) -> Image | None:
        """Return the picture of a stage; None if there is none or it is not the one that was written."""
        made = self._made.get(key)
        if made is None:
            return None
        image = read_picture(made.path)
        if image is None or image.size != (size.width, size.height) or digest(image) != made.digest:
            with self._lock:
                if self._made.get(key) is made:
                    del self._made[key]
            return None
        return image
