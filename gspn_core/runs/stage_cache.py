"""The pictures of finished stages by their key: those of runs on disk, and instant pictures in memory.

Those on disk are checked against their digest when they are read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from gspn_core.events import StageDone
from gspn_core.images.load import digest
from gspn_core.images.png import read_picture
from gspn_core.planning.types import CascadePlan, Size, StagePlan
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.run import RunView

# Of the pixels in memory. A picture of 256 px takes 0.2 MB, one of 1024 px 3 MB.
_MOST_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class CacheHit:
    """A stage that need not run: the job that made its picture, "" for none, and its seconds if known."""

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
        self._in_memory: OrderedDict[str, StageDone] = OrderedDict()
        self._lock = OrderedLock("cache")

    def keep(self, done: StageDone) -> None:
        """Keep a picture that belongs to no run; beyond a bound, those that were used least recently go."""
        with self._lock:
            self._in_memory[done.stage.key] = done
            self._in_memory.move_to_end(done.stage.key)
            while sum(map(_bytes, self._in_memory.values())) > _MOST_BYTES:
                self._in_memory.popitem(last=False)

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
            hit = self._hit(stage)
            if hit is None:
                break
            found.append(hit)
        return tuple(found)

    def _hit(self, stage: StagePlan) -> CacheHit | None:
        made = self._made.get(stage.key)
        if made is not None and made.path.is_file():
            return CacheHit(
                stage=stage.index,
                job_id=made.job_id,
                saved_seconds=made.seconds,
                processor_seconds=made.processor_seconds,
            )
        done = self._in_memory.get(stage.key)
        if done is None:
            return None
        return CacheHit(
            stage=stage.index,
            job_id="",
            saved_seconds=done.seconds,
            processor_seconds=done.processor_seconds,
        )

    def picture(self, key: str, size: Size) -> Image | None:
        """Return the picture of a stage; None if there is none or it is not the one that was written."""
        return self._on_disk(key, size) or self._kept(key)

    def _kept(self, key: str) -> Image | None:
        with self._lock:
            if key not in self._in_memory:
                return None
            self._in_memory.move_to_end(key)
            return self._in_memory[key].image

    def _on_disk(self, key: str, size: Size) -> Image | None:
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


def _bytes(done: StageDone) -> int:
    return done.image.width * done.image.height * 3
