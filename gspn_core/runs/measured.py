"""What stages of a model were measured to cost on this machine: in the jobs' folder, the fastest of each.

Two sources: runs, and the short measurement that a visitor may start (`gspn_core.runs.measuring`). What
else a machine does makes a call slower and never faster, so that the least seconds are what mixers are
compared by.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from gspn_core.events import Calibrated, MemoryKind
from gspn_core.files import replacing
from gspn_core.planning.types import MemoryOptions, StagePlan
from gspn_core.runs.estimate import Rate
from gspn_core.runs.records import DAMAGED
from gspn_core.runs.run import StageView
from gspn_core.settings import Mixer

Source = Literal["run", "measured"]
_FORMAT = 1
_FILE = ".measured.json"
# Sides, models and machines that one folder may see; the oldest go beyond it.
_MOST_POINTS = 500
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a stage of height × width px cost with a mixer.

    call_seconds: per evaluation of the UNet on the guidance pair; peak_bytes: the stage's highest memory.
    when: seconds since 1970.
    """

    model: str
    machine: str
    mixer: Mixer
    height: int
    width: int
    call_seconds: float
    peak_bytes: int
    memory_kind: MemoryKind
    when: float
    source: Source

    @property
    def side_px(self) -> float:
        """Return the side of the square with as many pixels."""
        return math.sqrt(self.height * self.width)


class Measured:
    """The points of one folder. machine: in a few words what the model runs on, None until that is known."""

    def __init__(self, folder: Path, *, model: str, machine: Callable[[], str | None]) -> None:
        self._path = folder / _FILE
        self._model, self._machine = model, machine
        self._lock = threading.Lock()
        self._points = {_key(point): point for point in _read(self._path)}

    def points(self) -> tuple[Point, ...]:
        """Return what was measured of this model on this machine, the small sizes first."""
        machine = self._machine()
        with self._lock:
            mine = [p for p in self._points.values() if (p.model, p.machine) == (self._model, machine)]
        return tuple(sorted(mine, key=lambda point: (point.side_px, point.mixer)))

    def take_stage(self, stage: StagePlan, view: StageView, rate: Rate) -> None:
        """Keep what a finished stage of a run cost; one of a single step or computed a slower way is not."""
        plain = stage.choices == MemoryOptions() and not view.retries and not stage.refiner_steps
        if plain and stage.steps > 1 and view.peak_bytes and view.memory_kind:
            self._take(
                source="run",
                mixer=stage.settings.mixer,
                height=view.height,
                width=view.width,
                call_seconds=rate.call_seconds,
                peak_bytes=view.peak_bytes,
                memory_kind=view.memory_kind,
            )

    def take(self, calibrated: Calibrated) -> None:
        """Keep what was measured outside of a run."""
        self._take(
            source="measured",
            mixer=calibrated.mixer,
            height=calibrated.size.height,
            width=calibrated.size.width,
            call_seconds=calibrated.call_seconds,
            peak_bytes=calibrated.peak_bytes,
            memory_kind=calibrated.memory_kind,
        )

    def _take(self, **values: Any) -> None:
        machine = self._machine()
        if not machine or values["call_seconds"] <= 0:
            return
        point = Point(model=self._model, machine=machine, when=time.time(), **values)
        with self._lock:
            before = self._points.get(_key(point), point)
            self._points[_key(point)] = min(before, point, key=lambda one: one.call_seconds)
            newest = sorted(self._points.values(), key=lambda kept: kept.when)[-_MOST_POINTS:]
            self._points = {_key(kept): kept for kept in newest}
            content = {"format": _FORMAT, "points": [dataclasses.asdict(kept) for kept in newest]}
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(self._path) as stream:
                    stream.write(json.dumps(content).encode())
            except OSError as error:
                # They are still known until the server ends.
                _log.warning("What was measured could not be kept: %s", error)


def _key(point: Point) -> tuple:
    return point.model, point.machine, point.mixer, point.height, point.width


def _read(path: Path) -> list[Point]:
    """Return the points of a file, none where there is no such file or it is not ours."""
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != _FORMAT:
            return []
        return [point for point in map(_point, content["points"]) if point is not None]
    except FileNotFoundError:
        return []
    except (OSError, *DAMAGED) as error:
        _log.warning("%s is not readable and will be written anew: %s", path, error)
        return []


def _point(values: dict[str, Any]) -> Point | None:
    try:
        point = Point(**values)
        known = point.mixer in get_args(Mixer) and point.memory_kind in get_args(MemoryKind)
        whole = point.height > 0 and point.width > 0 and point.peak_bytes > 0 and point.when > 0
        return point if known and whole and 0 < point.call_seconds < math.inf else None
    except TypeError:
        return None
