"""How much of the processor other programs take, so that a time taken next to them can be discarded."""

from __future__ import annotations

import time

import psutil

# Less than this is what any system does now and then; more slows a computation on all cores down.
_TOLERATED_CORES = 0.25


class OtherWork:
    """Watches the processor from `start` on.

    threads: how many threads the computation runs on, each of which wants a core of its own.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._began = self._read()

    def start(self) -> None:
        """Begin to watch."""
        self._began = self._read()

    @property
    def cores(self) -> float:
        """Return how many cores other programs kept busy since `start`, on average.

        It is the machine's busy time less this process's own, over the wall time; time that a host's other
        guests took away counts as theirs.
        """
        wall, busy, own = (now - then for now, then in zip(self._read(), self._began, strict=True))
        return max(0.0, busy - own) / max(wall, 1e-9)

    @property
    def is_in_the_way(self) -> bool:
        """Tell whether less than a core for every thread was left."""
        return self.cores + self._threads > (psutil.cpu_count() or 1) + _TOLERATED_CORES

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Return the wall time, the busy time of all cores and that of this process, in seconds."""
        times = psutil.cpu_times()
        # Guests are counted within user and nice already.
        idle = ("idle", "iowait", "guest", "guest_nice")
        busy = sum(seconds for name, seconds in times._asdict().items() if name not in idle)
        return time.perf_counter(), busy, time.process_time()
