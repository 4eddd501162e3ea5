"""The short measurement of what a model's stages cost: one at a time, never beside a run, ended by one."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace

from gspn_core.errors import Busy, GspnError
from gspn_core.events import Calibrated
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.measured import Measured
from gspn_core.runs.queue import RunQueue

Measure = Callable[[Callable[[], bool]], Generator[Calibrated, None, None]]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far it is: `done` of at most `pieces`, the last of them at side_px; error: why it ended early."""

    is_running: bool = False
    done: int = 0
    pieces: int = 0
    side_px: int | None = None
    error: str = ""


class Measuring:
    """Measures on a thread of its own while no run has the device; a run that is asked for ends it.

    measure: yields what each size and mixer costs until its argument says to stop; None where nothing can be
    measured outside of a run, as on a GPU that is lent for single calls. pieces: how many that are at most.
    """

    def __init__(self, jobs: RunQueue, measured: Measured, measure: Measure | None, *, pieces: int) -> None:
        self._jobs, self._measured, self._measure, self._pieces = jobs, measured, measure, pieces
        self._lock = OrderedLock("measuring")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._progress = Progress()

    @property
    def is_possible(self) -> bool:
        """Tell whether anything can be measured outside of a run."""
        return self._measure is not None

    @property
    def measured(self) -> Measured:
        """Return where the figures are kept."""
        return self._measured

    @property
    def progress(self) -> Progress:
        """Return how far the measurement is, or how the last one ended."""
        with self._lock:
            return self._progress

    def start(self) -> None:
        """Begin to measure; one that goes on already goes on. Raises Busy while a run waits or goes on."""
        with self._lock:
            if self._progress.is_running or self._measure is None:
                return
            if self._jobs.is_busy:
                raise Busy("A run has the device; measure when it is over.")
            self._stop.clear()
            self._progress = Progress(is_running=True, pieces=self._pieces)
            context = contextvars.copy_context()
            self._thread = threading.Thread(
                target=lambda: context.run(self._work), name="gspn-measuring", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End the measurement within one piece; what was measured is kept."""
        self._stop.set()

    def close(self, timeout_seconds: float = 10.0) -> None:
        """End the measurement and wait for that."""
        self.stop()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _should_stop(self) -> bool:
        return self._stop.is_set() or self._jobs.is_busy

    def _work(self) -> None:
        error = ""
        try:
            with self._jobs.device(), closing(self._measure(self._should_stop)) as found:
                for calibrated in found:
                    self._measured.take(calibrated)
                    with self._lock:
                        side = round((calibrated.size.height * calibrated.size.width) ** 0.5)
                        self._progress = replace(self._progress, done=self._progress.done + 1, side_px=side)
        except GspnError as refusal:
            error = str(refusal)
        except Exception as failure:
            _log.exception("The measurement broke")
            error = f"the measurement broke ({type(failure).__name__}); the server's log has the details."
        finally:
            with self._lock:
                self._progress = replace(self._progress, is_running=False, error=error)
