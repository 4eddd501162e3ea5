"""Instant: the first stage that is drawn while the form changes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ui.shared.strings import units

SCREEN: Mapping[str, str] = MappingProxyType(
    {
        "instant": "Instant",
        "instant_title": "Draw the first stage while you type and move sliders; Run continues from it",
        "instant_seed": "New seed",
        "instant_seed_title": "Draw the sketch from another random seed",
    }
)

RUN_CONTINUES = "Run continues from it"

# Why the form as it stands is not sketched, by what is in the way.
OFF: Mapping[str, str] = MappingProxyType(
    {
        "start": "Off with an init image; remove it to see sketches.",
        "control": "Off with a control; set it to none to see sketches.",
        "memory": "Off until the first stage fits into memory.",
        "unknown": "Starts once a run or a measurement has timed this machine.",
    }
)

# Why one that was asked for did not come.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "off": "",
        "busy": "Skipped: the device is in use.",
        "often": "Skipped: too many sketches in one minute.",
        "failed": "The sketch failed; the server's log has the details.",
    }
)


def too_slow(seconds: float, most_seconds: float, steps: int | None) -> str:
    """Return why a slow first stage is not drawn while the form changes, and with what it would be."""
    remedy = "Choose a faster model." if steps is None else f"Up to {steps} steps are fast enough."
    return f"Off: a sketch takes {units.seconds(seconds)}, {most_seconds:g} s at most. {remedy}"


def title(height: int, width: int) -> str:
    """Return what marks the picture of a sketch."""
    return f"Sketch {units.size(height, width)}"


def alt(height: int, width: int) -> str:
    """Return the text that stands for a sketch."""
    return f"Sketch of the first stage, {units.size(height, width)} px"


def took(seconds: float | None) -> str:
    """Return what a sketch took; None for one that was there already."""
    return "cached" if seconds is None else f"{seconds * 1e3:.0f} ms"


def spoken(seconds: float | None) -> str:
    """Return what a screen reader says of a new sketch before its seed."""
    return f"Sketch, {took(seconds)}, "


def seed(value: int) -> str:
    """Return which seed a sketch has, and so the run that continues from it."""
    return f"seed {value}"
