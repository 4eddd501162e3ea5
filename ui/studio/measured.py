"""What a call of the UNet takes against the picture's size, as measured on this machine, drawn as two plots.

Between two sizes the lines are what `gspn_core.planning.timing.timing_at` returns there. Pure but for the
wiring; drawn by measured.js into the panel.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gspn_core.errors import GspnError
from gspn_core.planning.timing import StageTiming, preferred
from gspn_core.planning.types import ModelCard
from gspn_core.runs.measuring import Measuring, Progress
from gspn_core.settings import CHOICES, Mixer
from ui.shared.part import html_part
from ui.shared.strings import labels, measured_strings, units

WIDTH, HEIGHT = 216.0, 128.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 18.0, 8.0, 20.0
# A tick's text is about so high; closer to each other they would touch.
_LEAST_TICK_PX = 15.0
_MANTISSAS = (1, 2, 5)

Cells = Mapping[tuple[Mixer, int], StageTiming]


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """A logarithmic axis: values from low to high lie from `start` to `end` in px."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return where a value is in px."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)


def build_measured() -> gr.HTML:
    """Draw the part into the open gradio block; it moves into the panel."""
    return html_part("studio", "measured", {"ready": False})


def wire_measured(parts: dict[str, Any], measuring: Measuring | None, card: ModelCard) -> None:
    """Let the part ask for what was measured, and begin and end a measurement."""
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def refresh() -> dict[str, Any]:
        return shown(measuring, card)

    def begin() -> dict[str, Any]:
        return begun(measuring, card)

    def end() -> dict[str, Any]:
        if measuring is not None:
            measuring.stop()
        return shown(measuring, card)

    part = parts["measured"]
    part.refresh(refresh, None, part, trigger_mode="always_last", **quiet)
    part.begin(begin, None, part, trigger_mode="once", **quiet)
    part.end(end, None, part, trigger_mode="once", **quiet)


def begun(measuring: Measuring | None, card: ModelCard) -> dict[str, Any]:
    """Begin a measurement and return the part, with the sentence of a refusal."""
    if measuring is None:
        return shown(measuring, card)
    try:
        measuring.start()
    except GspnError as refusal:
        return {**shown(measuring, card), "said": str(refusal)}
    return shown(measuring, card)


def shown(measuring: Measuring | None, card: ModelCard) -> dict[str, Any]:
    """Return the part as it stands; it stays out of sight where there is nothing to measure with."""
    if measuring is None:
        return {"ready": False}
    timings = measuring.timings
    return measured_props(
        timings.all(),
        card,
        measuring.progress,
        machine=timings.machine,
        possible=measuring.is_possible,
    )


def measured_props(
    timings: Sequence[StageTiming], card: ModelCard, progress: Progress, *, machine: str, possible: bool
) -> dict[str, Any]:
    """Return the plots, their tables and what is said of them, ready for JSON.

    Sizes of other aspects count as the card's target with about as many pixels. machine: what the model runs
    on; possible: a visitor may measure.
    """
    cells = _cells(preferred(timings, "measurement"), card.targets)
    return {
        "ready": possible or bool(cells),
        "possible": possible,
        "progress": _progress(progress),
        "said": progress.error or _busy(progress),
        "mixers": [[name, labels.CHOICES[name]] for name in _mixers(cells)],
        "plots": {
            "seconds": _plot(cells, "seconds", units.call_seconds),
            "memory": _plot(cells, "memory", units.bytes_),
        }
        if cells
        else None,
        "box": [_LEFT, WIDTH - _RIGHT],
        "summary": _summary(timings, card.targets),
        "where": _where(cells, machine),
        "note": measured_strings.RANDOM if set(_mixers(cells)) - set(card.mixers) else "",
    }


def _cells(timings: Iterable[StageTiming], targets: Sequence[int]) -> dict[tuple[Mixer, int], StageTiming]:
    """Return the newest timing of each mixer and target; a size counts as the target nearest in area."""
    cells: dict[tuple[Mixer, int], StageTiming] = {}
    for timing in sorted(timings, key=lambda timing: timing.when):
        side = timing.side_px
        cells[timing.mixer, min(targets, key=lambda px: abs(math.log(px / side)))] = timing
    return cells


def _mixers(cells: Cells) -> list[Mixer]:
    """Return the mixers that were measured, in the order of the form."""
    return [name for name in CHOICES["mixer"] if any(mixer == name for mixer, _ in cells)]


def _sides(cells: Cells) -> list[int]:
    return sorted({side for _, side in cells})


def _figures(cells: Cells, kind: str) -> dict[tuple[Mixer, int], float]:
    """Return the seconds or the bytes of the cells; memory is not known of all of them."""
    if kind == "seconds":
        return {place: timing.step_seconds for place, timing in cells.items()}
    return {place: float(timing.peak_bytes) for place, timing in cells.items() if timing.peak_bytes}


def _plot(cells: Cells, kind: str, said: Callable[[float], str]) -> dict[str, Any]:
    """Return a plot's lines, dots, ticks and table; the first of the table's columns names their unit."""
    sides = _sides(cells)
    figures = _figures(cells, kind)
    # Without any figure the axis still needs a range.
    values = list(figures.values()) or [1e9]
    across = _Axis(low=sides[0], high=max(sides[-1], 2 * sides[0]), start=_LEFT, end=WIDTH - _RIGHT)
    low, high = _range(values)
    up = _Axis(low=low, high=high, start=HEIGHT - _BOTTOM, end=_TOP)
    unit, cell = (units.call_unit if kind == "seconds" else units.memory_unit)(max(values))
    lines = {}
    for mixer in _mixers(cells):
        own = [(side, figures[mixer, side]) for side in sides if (mixer, side) in figures]
        dots = [[round(across.at(side), 1), round(up.at(value), 1)] for side, value in own]
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in dots) if len(dots) > 1 else ""
        lines[mixer] = {"path": path, "dots": dots}
    return {
        "lines": lines,
        "up": [[round(up.at(tick), 1), said(tick)] for tick in _ticks(up)],
        "across": [[round(across.at(side), 1), str(side)] for side in _apart(sides, across)],
        "columns": [unit, *map(str, sides)],
        "rows": [
            [
                labels.CHOICES[mixer],
                *(cell(figures[mixer, side]) if (mixer, side) in figures else "" for side in sides),
            ]
            for mixer in _mixers(cells)
        ],
    }


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return where an axis begins and ends: with room around the values, a factor of three at the least."""
    low, high = min(values) / 1.15, max(values) * 1.15
    spare = math.sqrt(max(3.0 / (high / low), 1.0))
    return low / spare, high * spare


def _ticks(axis: _Axis) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten on an axis, or fewer of them where they would touch."""
    for mantissas in (_MANTISSAS, (1,)):
        powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
        ticks = [m * 10.0**power for power in powers for m in mantissas]
        ticks = [tick for tick in ticks if axis.low <= tick <= axis.high]
        places = [axis.at(tick) for tick in ticks]
        if all(abs(a - b) >= _LEAST_TICK_PX for a, b in zip(places, places[1:], strict=False)):
            return ticks
    return ticks[:: math.ceil(len(ticks) * _LEAST_TICK_PX / (HEIGHT - _TOP - _BOTTOM))]


def _apart(sides: Sequence[int], axis: _Axis) -> list[int]:
    """Return the sides whose names fit under the axis, the largest first of all."""
    kept: list[int] = []
    for side in reversed(sides):
        if not kept or axis.at(kept[-1]) - axis.at(side) >= 7.5 * len(str(kept[-1])) + 4:
            kept.append(side)
    return kept[::-1]


def _summary(timings: Sequence[StageTiming], targets: Sequence[int]) -> str:
    """Return attention's time over GSPN's at the largest size where both are known, "" for none.

    Both are measurements, or both are runs: a run's steps do more than the UNet's evaluation.
    """
    for source in ("measurement", "run"):
        cells = _cells((timing for timing in timings if timing.source == source), targets)
        both = [side for side in _sides(cells) if ("attention", side) in cells and ("gspn", side) in cells]
        if both:
            ratio = cells["attention", both[-1]].step_seconds / cells["gspn", both[-1]].step_seconds
            return measured_strings.ratio(both[-1], ratio)
    return ""


def _where(cells: Cells, machine: str) -> str:
    """Return the machine and the days of the measurements."""
    if not cells:
        return ""
    moments = [timing.when for timing in cells.values()]
    days = [datetime.date.fromtimestamp(when(moments)) for when in (min, max)]
    return measured_strings.where(machine, *days)


def _busy(progress: Progress) -> str:
    return "" if progress.busy_px is None else measured_strings.busy(progress.busy_px)


def _progress(progress: Progress) -> dict[str, Any] | None:
    if not progress.is_running:
        return None
    share = progress.done / progress.pieces if progress.pieces else 0.0
    return {"share": min(share, 1.0), "text": measured_strings.progress(progress.done, progress.side_px)}
