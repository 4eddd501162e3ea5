"""The chart of cost by resolution."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from types import MappingProxyType

SCREEN: Mapping[str, str] = MappingProxyType(
    {
        "measured_title": "Cost by resolution",
        "measured_kinds": "What is shown",
        "measured_seconds": "Time",
        "measured_memory": "Memory",
        "measured_seconds_long": "Time per step (with CFG) by image side in px",
        "measured_memory_long": "Peak memory of a stage by image side in px",
        "measured_empty": "Every run adds its timings; a short benchmark compares all mixers.",
        "measured_table": "Show table",
        "measured_begin": "Benchmark",
        "measured_end": "Stop",
    }
)

RANDOM = "Mixers without weights for this model are measured with random ones, which cost the same."


def ratio(side_px: int, ratio: float) -> str:
    """Return how attention compares with GSPN at a size; ratio: how many times as long it takes."""
    if 0.95 <= ratio <= 1.05:
        return f"At {side_px} px self-attention is as fast as GSPN here."
    compared = f"{ratio:.2g}× slower" if ratio > 1 else f"{1 / ratio:.2g}× faster"
    return f"At {side_px} px self-attention is {compared} than GSPN here."


def where(machine: str, first: datetime.date, last: datetime.date) -> str:
    """Return on what and when it was measured."""
    days = sorted({first, last})
    return f"Measured on {machine}, {' to '.join(f'{day.day} {day:%b %Y}' for day in days)}."


def busy(side_px: int) -> str:
    """Return why a measurement ended early."""
    return f"Not measured at {side_px} px: the machine was busy. Close other programs and benchmark again."


def progress(done: int, side_px: int | None) -> str:
    """Return how far a measurement is."""
    return "measuring …" if side_px is None else f"{done} measured, up to {side_px} px"
