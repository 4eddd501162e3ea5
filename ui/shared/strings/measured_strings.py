"""The chart of cost by resolution."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from types import MappingProxyType

SCREEN: Mapping[str, str] = MappingProxyType(
    {
        "measured_title": "Time and memory by size",
        "measured_kinds": "What is drawn",
        "measured_seconds": "Time",
        "measured_memory": "Memory",
        "measured_seconds_long": "Time of one UNet call on the guidance pair, by the picture's side in px",
        "measured_memory_long": "Highest memory of a stage, by the picture's side in px",
        "measured_empty": "Every run adds what its stages took; a short measurement compares all mixers.",
        "measured_table": "The figures",
        "measured_begin": "Measure",
        "measured_end": "Stop",
    }
)

RANDOM = "Mixers without weights for this model are measured with random ones, which cost the same."


def ratio(side_px: int, ratio: float) -> str:
    """Return how many times as long attention takes as GSPN at a size."""
    return f"At {side_px} px a UNet call with attention takes {ratio:.2g} times as long as with GSPN."


def where(machine: str, first: datetime.date, last: datetime.date) -> str:
    """Return on what and when it was measured."""
    days = sorted({first, last})
    return f"Measured on {machine}, {' to '.join(f'{day.day} {day:%b %Y}' for day in days)}."


def busy(side_px: int) -> str:
    """Return why a measurement ended early."""
    return f"Not measured at {side_px} px: the machine was busy; close other programs and measure again."


def progress(done: int, side_px: int | None) -> str:
    """Return how far a measurement is."""
    return "measuring …" if side_px is None else f"{done} measured, up to {side_px} px"
