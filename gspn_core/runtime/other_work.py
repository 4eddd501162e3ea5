"""The processor use of other programs, so that timings disturbed by them can be discarded."""

from __future__ import annotations

import time

import psutil

# Cores. Any system uses up to this now and then; more slows down a computation on all cores.
_TOLERATED_CORES = 0.25


class OtherWork:
    """Watches the processor from `start` on.

    threads: how many threads the computation runs on, each on one core.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._began = self._read()

    def start(self) -> None:
        """Start watching."""
        self._began = self._read()

    @property
    def cores(self) -> float:
        """Return how many cores other programs kept busy since `start`, on average.

        The machine's busy time minus that of this process, over the wall time; time stolen by other guests of
        the host counts as other programs.
        """
        wall, busy, own = (now - then for now, then in zip(self._read(), self._began, strict=True))
        return max(0.0, busy - own) / max(wall, 1e-9)

    @property
    def is_in_the_way(self) -> bool:
        """Return whether less than a core for every thread was left."""
        return self.cores + self._threads > (psutil.cpu_count() or 1) + _TOLERATED_CORES

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Return the wall time, the busy time of all cores and that of this process, in seconds."""
        times = psutil.cpu_times()
        # Guest time is included in user and nice.
        idle = ("idle", "iowait", "guest", "guest_nice")
        busy = sum(seconds for name, seconds in times._asdict().items() if name not in idle)
        return time.perf_counter(), busy, time.process_time()
