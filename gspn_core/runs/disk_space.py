"""The room on the disk: one account of all that is in the jobs' folder, and what goes when it is too much."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gspn_core.runs.archive import Archive
from gspn_core.runs.init_images import InitImages
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.pairs import Pairs
from gspn_core.runs.run import RunView
from gspn_core.runs.stage_cache import StageCache
from gspn_core.runs.store import Store


class DiskSpace:
    """Keeps a folder within keep_bytes.

    The account holds runs with their comparisons, archives of studies, init images, what is left of runs that
    lost their record, and whatever else is there. Archives go first, as they can be made again, then the
    oldest runs. What is not a run's takes at most half of keep_bytes from the runs, so that a folder which is
    somebody else's does not cost all of them.
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
        """Take what knows of files.

        Args:
            is_needed: whether a run waits or goes on; asked with the lock of the room alone.
            on_removed: called with the ids of runs that are gone.
        """
        self._store, self._archive, self._finished = store, archive, finished
        self._pairs, self._starts = pairs, starts
        self.keep_bytes = keep_bytes
        self._is_needed, self._on_removed = is_needed, on_removed
        self._lock = OrderedLock("quota")

    def usage(self, owner: str) -> tuple[int, int, int]:
        """Return the bytes of an owner's runs, of the whole folder, and how many there may be."""
        own, runs = self._archive.usage(owner)
        return own, runs + self._other_bytes(), self.keep_bytes

    def make(self, latest: str = "") -> None:
        """Remove what is beyond keep_bytes, never the run of the id `latest`."""
        with self._lock:
            others = self._other_bytes()
            over = self._archive.usage("")[1] + others - self.keep_bytes
            if over <= 0:
                return
            others -= self._store.remove_archives(over)
            room = max(self.keep_bytes - others, self.keep_bytes // 2)
            self.forget(self._archive.prune(room, lambda job_id: job_id == latest or self._is_needed(job_id)))

    def forget(self, removed: Sequence[RunView]) -> None:
        """Remove all that was made of runs that are gone, and their init images if no other run has them."""
        ids = {view.id for view in removed}
        if not ids:
            return
        self._on_removed(ids)
        self._finished.forget(ids)
        self._store.remove_copies(ids)
        self._pairs.forget(
            self._store.folder, {stage.digest for view in removed for stage in view.stages if stage.digest}
        )
        self._starts.drop({start for view in removed if (start := view.settings.get("start"))})
        self._starts.sweep()

    def _other_bytes(self) -> int:
        return self._store.weight_of_others(self._archive.ids())
