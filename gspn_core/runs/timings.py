"""How long stages took on this machine with one model: a JSON file in the runs' folder.

Two sources add to it: runs, and measurements between runs (`gspn_core.runs.measuring`). The planner, the
queue's estimates and the page's curves all read it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gspn_core.files import replacing
from gspn_core.planning.timing import StageTiming
from gspn_core.runs.estimate import finished_timing
from gspn_core.runs.records import DAMAGED, check_record, read_json
from gspn_core.runs.run_state import LiveRun

_FOLDER, _FORMAT = "timings", 1
# Timings per file, and files in the folder: machines, models and versions of the code.
_MOST_TIMINGS, _MOST_FILES = 500, 16
# Files of earlier versions. The first is useless now: its keys are digests of code that has changed.
_OLD_TIMINGS, _OLD_MEASURED = "paces.json", ".measured.json"
_log = logging.getLogger(__name__)


class Timings:
    """The timings of one model on one machine; only in memory until `open` names both.

    folder: the runs' folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._names = {"model": "", "machine": ""}
        self._timings: tuple[StageTiming, ...] = ()
        # Held while a timing is added and written; readers take the current tuple.
        self._adding = threading.Lock()

    @property
    def machine(self) -> str:
        """Return a short description of the machine, "" until `open`."""
        return self._names["machine"]

    def all(self) -> tuple[StageTiming, ...]:
        """Return all timings, at most one per mixer, size and source."""
        return self._timings

    def open(self, key: str, *, model: str, machine: str) -> None:
        """Read the earlier timings of a key, and write to its file from now on.

        Args:
            key: digest of what timings depend on: model, machine, threads, dtype, code; the file's name.
            model: the model's name and fingerprint, as earlier versions stored it.
            machine: a short description of the machine.
        """
        with self._adding:
            self._path = self._folder / _FOLDER / f"{key}.json"
            self._names = {"model": model, "machine": machine}
            found = _read(self._path)
            if found is None:
                found = _migrated(self._folder, model, machine)
            merged: dict[tuple, StageTiming] = {}
            for timing in (*found, *self._timings):
                _merge(merged, timing)
            self._timings = tuple(merged.values())
            self._write()

    def add(self, timing: StageTiming) -> None:
        """Add a timing; kept are the newest of runs and the fastest step of measurements."""
        with self._adding:
            merged = {_key(kept): kept for kept in self._timings}
            _merge(merged, dataclasses.replace(timing, when=timing.when or time.time()))
            newest = sorted(merged.values(), key=lambda kept: kept.when)[-_MOST_TIMINGS:]
            self._timings = tuple(newest)
            self._write()

    def learn(self, run: LiveRun, index: int) -> None:
        """Add the timing of a stage that a run has finished, if later runs would take as long."""
        timing = finished_timing(run.plan.stages[index], run.view.stages[index])
        if timing is not None:
            self.add(timing)

    def _write(self) -> None:
        if self._path is None:
            return
        timings = [dataclasses.asdict(timing) for timing in self._timings]
        content = {"format": _FORMAT, **self._names, "timings": timings}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as stream:
                stream.write((json.dumps(content, indent=1) + "\n").encode())
            files = sorted(self._path.parent.glob("*.json*"), key=lambda path: path.stat().st_mtime)
            for path in files[:-_MOST_FILES]:
                path.unlink(missing_ok=True)
        except OSError as error:
            # They are still in memory until the server ends.
            _log.warning("What stages took could not be kept: %s", error)


def _key(timing: StageTiming) -> tuple:
    return timing.mixer, timing.height, timing.width, timing.source


def _merge(timings: dict[tuple, StageTiming], new: StageTiming) -> None:
    before = timings.pop(_key(new), None)
    if before is not None:
        # Other work on the machine makes a step slower, never faster.
        is_least = new.step_seconds <= before.step_seconds
        kept = new if new.source == "run" or before.decode_seconds is None or is_least else before
        new = dataclasses.replace(kept, count=before.count + new.count)
    timings[_key(new)] = new


def _read(path: Path) -> list[StageTiming] | None:
    """Return the timings of a file, None if there is no file; one with bad entries is set aside."""
    try:
        content = read_json(path)
        entries = content["timings"] if content["format"] == _FORMAT else None
        found = [_timing(entry) for entry in entries]
    except FileNotFoundError:
        return None
    except (OSError, *DAMAGED):
        found = [None]
    good = [timing for timing in found if timing is not None]
    if len(good) < len(found):
        aside = path.with_name(f"{path.name}.set-aside")
        _log.warning("%s has entries that cannot be read; it is kept as %s.", path, aside.name)
        try:
            path.replace(aside)
        except OSError as error:
            _log.warning("%s could not be set aside: %s", path, error)
    return good


def _timing(values: Any) -> StageTiming | None:
    try:
        timing = StageTiming(**values)
        check_record(timing)
    except DAMAGED:
        return None
    amounts = (timing.encode_seconds or 0.0, timing.decode_seconds or 0.0, timing.peak_bytes or 0)
    return timing if timing.step_seconds > 0 and min(*amounts, timing.count, timing.when) >= 0 else None


def _migrated(folder: Path, model: str, machine: str) -> Iterable[StageTiming]:
    """Return and remove what earlier versions stored for a model and machine."""
    (folder / _OLD_TIMINGS).unlink(missing_ok=True)
    path = folder / _OLD_MEASURED
    try:
        points = read_json(path)["points"]
        mine = [point for point in points if (point["model"], point["machine"]) == (model, machine)]
        others = [point for point in points if point not in mine]
        if others:
            with replacing(path) as stream:
                stream.write(json.dumps({"format": _FORMAT, "points": others}).encode())
        else:
            path.unlink()
    except FileNotFoundError:
        return []
    except (OSError, *DAMAGED) as error:
        _log.warning("%s is not readable and is left as it is: %s", path, error)
        return []
    return [timing for timing in map(_old_point, mine) if timing is not None]


def _old_point(point: dict[str, Any]) -> StageTiming | None:
    kept = {name: point[name] for name in ("mixer", "height", "width", "peak_bytes", "when") if name in point}
    return _timing(
        {
            **kept,
            "encode_seconds": None,
            "step_seconds": point.get("call_seconds"),
            "decode_seconds": None,
            "source": "run" if point.get("source") == "run" else "measurement",
        }
    )
