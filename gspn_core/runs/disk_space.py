"""Disk space: the sizes of everything in the jobs' folder, and what is removed when it is over the quota."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gspn_core.runs.archive import Archive
from gspn_core.runs.init_images import InitImages
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.pairs import Pairs
from gspn_core.runs.run import RunView
from gspn_core.runs.stage_cache import StageCache
from gspn_core.runs.store import Store
from gspn_core.settings import PICTURES


class DiskSpace:
    """Keeps a folder within keep_bytes.

    Counted are runs with their comparisons, archives of studies, init images, leftovers of runs that lost
    their record, and any other file. Archives are removed first, since they can be made again, then the
    oldest runs. Other files take at most half of keep_bytes away from runs, so that a large folder of another
    program does not displace all of them.
    """

    def __init__(
        self,
        store: Store,
        archive: Archive,
        finished: StageCache,
        pairs: Pairs,
        starts: InitImages,
        *,
        keep_bytes: int,
        is_needed: Callable[[str], bool],
        on_removed: Callable[[Collection[str]], None],
    ) -> None:
        """Watch the folder of a store.

        Args:
            is_needed: returns whether a run waits or runs; called with only this object's lock held.
            on_removed: called with the ids of removed runs.
        """
        self._store, self._archive, self._finished = store, archive, finished
        self._pairs, self._starts = pairs, starts
        self.keep_bytes = keep_bytes
        self._is_needed, self._on_removed = is_needed, on_removed
        self._lock = OrderedLock("quota")

    def usage(self, owner: str) -> tuple[int, int, int]:
        """Return the bytes of an owner's runs, of the whole folder, and the quota."""
        own, runs = self._archive.usage(owner)
        return own, runs + self._other_bytes(), self.keep_bytes

    def make(self, latest: str = "") -> None:
        """Remove files until the folder is within keep_bytes; never the run with the id `latest`."""
        with self._lock:
            others = self._other_bytes()
            over = self._archive.usage("")[1] + others - self.keep_bytes
            if over <= 0:
                return
            others -= self._store.remove_archives(over)
            room = max(self.keep_bytes - others, self.keep_bytes // 2)
            self.forget(self._archive.prune(room, lambda job_id: job_id == latest or self._is_needed(job_id)))

    def count(self, job_id: str) -> None:
        """Read the size of a run's files again, which are more than before, and make room."""
        self._archive.weigh(job_id)
        self.make(job_id)

    def forget(self, removed: Sequence[RunView]) -> None:
        """Remove what was derived from removed runs, and their init images if no other run uses them."""
        ids = {view.id for view in removed}
        if not ids:
            return
        self._on_removed(ids)
        self._finished.forget(ids)
        self._store.remove_copies(ids)
        self._pairs.forget(
            self._store.folder, {stage.digest for view in removed for stage in view.stages if stage.digest}
        )
        self._starts.drop(
            {given for view in removed for name in PICTURES if (given := view.settings.get(name))}
        )
        self._starts.sweep()

    def _other_bytes(self) -> int:
        return self._store.weight_of_others(self._archive.ids())
