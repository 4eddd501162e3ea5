"""The machine's pace, measured between runs and kept for the next start. Knows no torch and no page."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

from gspn_core.events import Calibrated, Event
from gspn_core.files import replacing
from gspn_core.planning.types import Pace
from gspn_core.settings import Mixer, Settings

FILE = "paces.json"
# As many machines, models and versions as one folder remembers; the oldest goes.
_MOST_KEYS = 16
_LARGEST_FILE = 4 * 2**20
# What a run is likely to be followed by is another run.
_REST_SECONDS = 2.0
# A piece of work that would take longer is left to the arithmetic.
_LIMIT_SECONDS = 3.0
_log = logging.getLogger(__name__)


@runtime_checkable
class Measurable(Protocol):
    """An engine whose pace can be measured outside of runs and taken over from an earlier start."""

    pace_key: str
    paces: tuple[Pace, ...]

    def take_paces(self, paces: Iterable[Pace]) -> None:
        """Take what was measured earlier under the same key."""

    def calibrate(self, should_stop: Callable[[], bool], *, limit_seconds: float) -> Iterator[Calibrated]:
        """Measure what is not known yet, a piece at a time."""

    def run(self, settings: Settings, should_stop: Callable[[], bool], **options: Any) -> Iterator[Event]:
        """Yield a run's events."""


class KeptPaces:
    """What was measured, in a file, by the key of what it was measured with."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, key: str) -> tuple[Pace, ...]:
        """Return the paces under a key, none where the file has none or is damaged."""
        try:
            return tuple(_pace(record) for record in self._records().get(key, ()))
        except (TypeError, ValueError, AttributeError):
            return ()

    def write(self, key: str, paces: Iterable[Pace]) -> None:
        """Put the paces under a key; raise OSError where the file cannot be written."""
        records = self._records()
        records.pop(key, None)
        records[key] = [dataclasses.asdict(pace) for pace in paces]
        kept = dict(list(records.items())[-_MOST_KEYS:])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as stream:
            stream.write((json.dumps(kept, indent=1) + "\n").encode())

    def _records(self) -> dict[str, Any]:
        try:
            if self._path.stat().st_size > _LARGEST_FILE:
                return {}
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


def _pace(record: dict[str, Any]) -> Pace:
    pace = Pace(**record)
    numbers = [getattr(pace, field.name) for field in dataclasses.fields(pace) if field.name != "mixer"]
    if pace.mixer not in get_args(Mixer) or not all(0 <= number < 1e9 for number in numbers):
        raise ValueError(record)
    if not (pace.height and pace.width and pace.call_seconds):
        raise ValueError(record)
    return pace


class Calibration:
    """Measures an engine in a thread of its own whenever no run goes on, until nothing is left to measure.

    Runs go through `run`, which measuring makes way for within a block of the UNet. What was measured under
    the engine's key before is taken first, and what is known at a run's end or at the end is kept.
    """

    def __init__(
        self,
        engine: Measurable,
        folder: Path,
        *,
        rest_seconds: float = _REST_SECONDS,
        told: Callable[[Calibrated], None] = lambda _: None,
    ) -> None:
        """Take an engine. folder: where what is known is kept; told: hears of each piece at once."""
        self._told = told
        self._engine, self._kept, self._rest_seconds = engine, KeptPaces(folder / FILE), rest_seconds
        self._changed = threading.Condition()
        self._runs = 0
        self._measuring = self._over = self._closed = False
        self._written: tuple[Pace, ...] = ()

    def start(self) -> None:
        """Take what is known and begin to measure the rest."""
        self._written = self._kept.read(self._engine.pace_key)
        self._engine.take_paces(self._written)
        threading.Thread(target=self._work, name="gspn-calibration", daemon=True).start()

    @property
    def measured(self) -> int | None:
        """Return how much has been measured so far, None once nothing is left to measure."""
        return None if self._over else len(self._engine.paces)

    def run(self, settings: Settings, should_stop: Callable[[], bool], **options: Any) -> Iterator[Event]:
        """Yield a run's events, the engine being the run's alone meanwhile."""
        yield from self.alone(self._engine.run(settings, should_stop, **options))

    def alone(self, work: Iterator[Any]) -> Iterator[Any]:
        """Yield what some work on the engine yields; nothing is measured here meanwhile."""
        with self._changed:
            self._runs += 1
            self._changed.wait_for(lambda: not self._measuring)
        try:
            yield from work
        finally:
            with self._changed:
                self._runs -= 1
                self._changed.notify_all()
            self._keep()

    def close(self) -> None:
        """Leave off measuring."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_unwanted(self) -> bool:
        return self._runs > 0 or self._closed

    def _work(self) -> None:
        try:
            while self._measure():
                with self._changed:
                    self._changed.wait_for(self._is_idle)
                    self._changed.wait_for(lambda: self._closed, self._rest_seconds)
        except Exception:
            _log.exception("The machine could not be measured; times are told once a run has shown them")
        finally:
            self._keep()
            self._over = True

    def _is_idle(self) -> bool:
        return not self._runs or self._closed

    def _measure(self) -> bool:
        """Measure as long as no run wants the engine; tell whether there may be more to measure."""
        with self._changed:
            if self._closed:
                return False
            if self._runs:
                return True
            self._measuring = True
        try:
            for piece in self._engine.calibrate(self._is_unwanted, limit_seconds=_LIMIT_SECONDS):
                self._told(piece)
            return self._is_unwanted()
        finally:
            with self._changed:
                self._measuring = False
                self._changed.notify_all()

    def _keep(self) -> None:
        paces = self._engine.paces
        if paces == self._written:
            return
        try:
            self._kept.write(self._engine.pace_key, paces)
            self._written = paces
        except OSError as error:
            _log.warning("What was measured of this machine could not be kept: %s", error)
