"""Measuring what a model's stages cost: in the background between runs, and in full when a visitor asks.

One thread does both. It never measures during a run, and stops for one within a block of the UNet.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from gspn_core.errors import Busy, GspnError
from gspn_core.events import StageNotTimed, StageTimed
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.timings import Timings

# Called with `should_stop` and `every_mixer`, see `gspn_core.engine.Engine.measure`.
Measure = Callable[..., Generator[StageTimed | StageNotTimed, None, None]]

# After a run, another one is likely.
_REST_SECONDS = 2.0
# Pauses before a busy machine is tried again in the background.
_RETRY_SECONDS = (10.0, 30.0, 60.0, 120.0, 300.0)
_BUSY = "Not measured at %s px: the machine was busy; close other programs and measure again."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a visitor's measurement.

    Args:
        is_running: it is running or about to start.
        done: pieces measured, of at most `pieces`; the last one was at side_px.
        busy_px: the side in px at which it ended because the machine was busy.
        error: any other reason why it ended early.
    """

    is_running: bool = False
    done: int = 0
    pieces: int = 0
    side_px: int | None = None
    busy_px: int | None = None
    error: str = ""


class Measuring:
    """Measures while no run uses the device, and stores the results in `timings`.

    measure: yields the timing of each size and mixer until its argument returns True; None if nothing can be
    measured outside of a run, as on ZeroGPU. pieces: the most that it yields.
    """

    def __init__(
        self,
        jobs: RunQueue,
        timings: Timings,
        measure: Measure | None,
        *,
        pieces: int,
        rest_seconds: float = _REST_SECONDS,
        retry_seconds: tuple[float, ...] = _RETRY_SECONDS,
    ) -> None:
        self.timings = timings
        self._jobs, self._measure, self._pieces = jobs, measure, pieces
        self._rest_seconds, self._retries = rest_seconds, list(retry_seconds)
        self._changed = threading.Condition(OrderedLock("measuring"))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._progress = Progress()
        self._in_background = self._closed = False

    @property
    def is_possible(self) -> bool:
        """Return whether anything can be measured outside of a run."""
        return self._measure is not None

    @property
    def progress(self) -> Progress:
        """Return the progress of a visitor's measurement, or how the last one ended."""
        with self._changed:
            return self._progress

    @property
    def pending(self) -> int | None:
        """Return how much is known while the background measurement goes on; None when it has ended."""
        with self._changed:
            return len(self.timings.all()) if self._in_background else None

    def begin(self) -> None:
        """Start measuring in the background what is not known yet."""
        with self._changed:
            self._in_background = self.is_possible and not self._closed
            self._wake()

    def start(self) -> None:
        """Start measuring everything once for a visitor, unless it is running. Raises Busy during a run."""
        with self._changed:
            if self._progress.is_running or self._measure is None or self._closed:
                return
            if self._jobs.is_busy:
                raise Busy("Another run is using the device. Measure when it finishes.")
            self._stop.clear()
            self._progress = Progress(is_running=True, pieces=self._pieces)
            self._wake()

    def stop(self) -> None:
        """End a visitor's measurement within one piece; what was measured is kept."""
        self._stop.set()

    def close(self, timeout_seconds: float = 10.0) -> None:
        """End all measuring and wait for the thread."""
        self.stop()
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout_seconds)

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._thread is None and not self._closed:
            context = contextvars.copy_context()
            self._thread = threading.Thread(
                target=lambda: context.run(self._work), name="gspn-measuring", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        rest = 0.0
        while True:
            with self._changed:
                timeout = rest if self._in_background else None
                self._changed.wait_for(partial(self._is_wanted, sleeps=timeout is None), timeout)
                asked = self._progress.is_running
                if self._closed and not asked:
                    return
            rest = self._for_visitor() if asked else self._between_runs()

    def _is_wanted(self, *, sleeps: bool) -> bool:
        return self._progress.is_running or self._closed or (sleeps and self._in_background)

    def _for_visitor(self) -> float:
        """Measure everything and set how it ended; return the seconds to pause."""
        busy_px, error = None, ""
        try:
            busy_px = self._measured(self._is_unwanted, every_mixer=True)
        except GspnError as refusal:
            error = str(refusal)
        except Exception as failure:
            _log.exception("The measurement broke")
            error = f"the measurement broke ({type(failure).__name__}); the server's log has the details."
        with self._changed:
            self._progress = replace(self._progress, is_running=False, busy_px=busy_px, error=error)
        return self._rest_seconds

    def _between_runs(self) -> float:
        """Measure what is not known yet; return the seconds to pause before there is more to do."""

        def is_unwanted() -> bool:
            wanted = self._jobs.is_busy or self._jobs.instant.is_wanted
            return self._closed or self._progress.is_running or wanted

        try:
            busy_px = self._measured(is_unwanted, every_mixer=False)
            if is_unwanted():
                return self._rest_seconds
            if busy_px is not None and self._retries:
                return self._retries.pop(0)
        except Busy:
            return self._rest_seconds
        except Exception:
            _log.exception("The machine could not be measured; times are known once a run has shown them")
        with self._changed:
            self._in_background = False
        return self._rest_seconds

    def _is_unwanted(self) -> bool:
        return self._stop.is_set() or self._jobs.is_busy

    def _measured(self, is_unwanted: Callable[[], bool], *, every_mixer: bool) -> int | None:
        """Store each timing; return the side in px at which the machine was busy, None if it was not."""
        with (
            self._jobs.device(),
            closing(self._measure(is_unwanted, every_mixer=every_mixer)) as events,
        ):
            for event in events:
                if isinstance(event, StageNotTimed):
                    side_px = round(event.size.pixels**0.5)
                    _log.warning(_BUSY, side_px)
                    return side_px
                self.timings.add(event.timing)
                with self._changed:
                    if every_mixer:
                        done, side_px = self._progress.done + 1, round(event.timing.side_px)
                        self._progress = replace(self._progress, done=done, side_px=side_px)
        return None
