"""Time and memory of a stage while it runs."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import psutil
import torch

from gspn_core.events import MemorySample
from gspn_core.runtime.device import total_bytes
from gspn_core.runtime.machine import give_back


class Meter:
    """Measure one stage: seconds since `start`, memory now and its peak since then.

    On a GPU the peak is torch's own counter; without one a thread samples the process's resident set every
    `interval_seconds` until `stop`.
    """

    def __init__(self, device: torch.device, *, interval_seconds: float = 0.02) -> None:
        self.device = device
        self._interval = interval_seconds
        self._total = total_bytes(device)
        self._process = psutil.Process()
        self._peak = 0
        self._began = 0.0
        self._processor_began = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start a stage: reset the clock and the peak, after releasing unused memory."""
        self.stop()
        give_back(self.device)
        self._began = time.perf_counter()
        self._processor_began = time.process_time()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        self._peak = self._process.memory_info().rss
        self._ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(self._ended,), name="meter", daemon=True)
        # Without memory for a thread, memory is read with each event alone.
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def stop(self) -> None:
        """Stop sampling; the last figures stay readable."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def seconds(self) -> float:
        """Return the wall time in seconds since the stage began, after the device's queued work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - self._began

    @property
    def processor_seconds(self) -> float | None:
        """Return the time of all cores in seconds since the stage began; None where a GPU does the work."""
        return None if self.device.type == "cuda" else time.process_time() - self._processor_began

    def sample(self) -> MemorySample:
        """Return the memory in use and its peak since the stage began."""
        if self.device.type == "cuda":
            return MemorySample(
                kind="device",
                now_bytes=torch.cuda.memory_allocated(self.device),
                peak_bytes=torch.cuda.max_memory_allocated(self.device),
                total_bytes=self._total,
                reserved_bytes=torch.cuda.memory_reserved(self.device),
            )
        now = self._process.memory_info().rss
        self._peak = max(self._peak, now)
        return MemorySample(kind="process", now_bytes=now, peak_bytes=self._peak, total_bytes=self._total)

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(self._interval):
            self._peak = max(self._peak, self._process.memory_info().rss)
