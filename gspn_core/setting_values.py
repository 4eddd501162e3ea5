"""Checks of single settings: bounds, texts, aspects, ladders and references of init images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gspn_core.errors import BadSetting, UnsupportedSize

MAX_PROMPT_CHARACTERS = 2000
MAX_ASPECT = 4.0
# Bounds of the sides of a stored init image, in px.
MIN_START_PX, MAX_START_PX = 64, 4096
_ASPECT = re.compile(r"([1-9][0-9]{0,4}):([1-9][0-9]{0,4})")
_START = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})-[0-9a-f]{64}")
_IN_QUOTES = re.compile(r'["\\\n]')


@dataclass(frozen=True, kw_only=True)
class Range:
    """Bounds (both inclusive) of a number and the step by which a slider moves it.

    stops: values at equal distances along a slider's track, where equal parts of the range would change the
    picture by very different amounts; empty for a linear slider.
    """

    minimum: float
    maximum: float
    step: float
    stops: tuple[float, ...] = ()

    @property
    def travel(self) -> tuple[float, ...]:
        """Return the values at equal distances along a slider's track; five for a linear one."""
        if self.stops:
            return self.stops
        span = self.maximum - self.minimum
        return tuple(round(self.minimum + span * part / 4, 6) for part in range(5))


def ladder_rungs(ladder: str) -> tuple[tuple[str, int], ...]:
    """Return the rungs of a ladder's text as (kind, size in px), the kind "" where it names none."""
    rungs = (rung.rpartition(":") for rung in ladder.split())
    return tuple((kind, int(px)) for kind, _, px in rungs)


def aspect_ratio(aspect: str) -> float:
    """Return width / height of an aspect such as "3:2"; raise UnsupportedSize for any other."""
    match = _ASPECT.fullmatch(aspect) if isinstance(aspect, str) else None
    if not match:
        raise UnsupportedSize(
            "aspect", f"aspect must look like 3:2 (width:height), got {str(aspect)[:40]!r}."
        )
    ratio = int(match[1]) / int(match[2])
    if not 1 / MAX_ASPECT <= ratio <= MAX_ASPECT:
        raise UnsupportedSize("aspect", f"aspect must be between 1:4 and 4:1, got {aspect}; try 16:9.")
    return ratio


def start_size(reference: Any, field: str = "start") -> tuple[int, int]:
    """Return the (height, width) in px of the picture that a reference names; raise BadSetting.

    field: the setting that holds it.
    """
    match = _START.fullmatch(reference) if isinstance(reference, str) else None
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not match or not MIN_START_PX <= min(height, width) <= max(height, width) <= MAX_START_PX:
        raise BadSetting(
            field, f"{field} must name a picture that was handed in here, got {str(reference)[:40]!r}."
        )
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise BadSetting(field, f"{field} is {width}×{height} px, longer than 4:1; crop it.")
    return height, width


def ladder_text(ladder: Any, bounds: Range) -> str:
    """Return a ladder's rungs, ascending and one space apart; raise BadSetting for other text.

    bounds: of each size in px.
    """
    words = re.split(r"[\s,]+", ladder.strip()) if isinstance(ladder, str) else [str(ladder)]
    if words == [""]:
        return ""
    parsed = [re.fullmatch(r"(?:([a-z][a-z0-9_]{0,23}):)?([0-9]{1,5})", word) for word in words[:16]]
    rungs = {int(rung[2]): rung[1] or "" for rung in parsed if rung}
    readable = len(words) <= 16 and all(parsed) and len(rungs) == len({rung[0] for rung in parsed if rung})
    if not readable or not all(bounds.minimum <= px <= bounds.maximum for px in rungs):
        raise BadSetting(
            "ladder",
            "ladder must list sizes in px, each once, such as 1024 4096 or 1024 upscale:4096, got "
            f"{str(ladder)[:40]!r}; leave it empty.",
        )
    return " ".join(f"{kind}:{px}" if kind else str(px) for px, kind in sorted(rungs.items()))


def check_text(name: str, value: Any, *, required: bool) -> None:
    """Raise BadSetting for anything but text, for text that is too long, or empty although required."""
    if not isinstance(value, str):
        raise BadSetting(name, f"{name} must be text, got {type(value).__name__}.")
    if required and not value.strip():
        raise BadSetting(name, f"{name} is empty; say what the picture should show.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadSetting(name, f"{name} holds half a character (a lone surrogate); type it again.")
    if len(value) > MAX_PROMPT_CHARACTERS:
        raise BadSetting(
            name,
            f"{name} has {len(value):,} characters, at most {MAX_PROMPT_CHARACTERS:,} fit; shorten it.",
        )


def checked_number(
    name: str, value: Any, bounds: Range, *, integer: bool, optional: bool
) -> int | float | None:
    """Return a number within its bounds, None if it is optional and left open; raise BadSetting."""
    if value is None:
        if optional:
            return None
        raise BadSetting(
            name, f"{name} is missing; give a number from {bounds.minimum:g} to {bounds.maximum:g}."
        )
    kind = "a whole number" if integer else "a number"
    wrong = isinstance(value, bool) or not isinstance(value, (int, float))
    if wrong or value != value or (integer and value % 1):
        raise BadSetting(name, f"{name} must be {kind}, got {str(value)[:40]!r}.")
    if not bounds.minimum <= value <= bounds.maximum:
        limits = (
            f"from {int(bounds.minimum)} to {int(bounds.maximum)}"
            if integer
            else (f"from {bounds.minimum:g} to {bounds.maximum:g}")
        )
        nearest = min(max(value, bounds.minimum), bounds.maximum)
        remedy = f"try {int(nearest) if integer else f'{nearest:g}'}"
        if name == "seed":
            # The nearest seed is as far from what was meant as any other.
            remedy = "leave it empty for a random one"
        raise BadSetting(name, f"{name} must be {kind} {limits}, got {_shown(value)}; {remedy}.")
    return int(value) if integer else float(value)


def _shown(value: int | float) -> str:
    return (
        str(value) if isinstance(value, float) or abs(value) < 10**40 else "a number of more than 40 digits"
    )


def override_lines(text: str) -> list[str]:
    """Return the parts between line breaks and semicolons that stand outside quotes, in one pass."""
    parts, start, closed_at, is_open = [], 0, -1, False
    for mark in re.finditer(r'[\n;"]', text):
        at = mark.start()
        if at <= closed_at:
            continue
        if mark[0] != '"':
            parts.append(text[start:at])
            start, is_open = at + 1, is_open and mark[0] == ";"
        elif not is_open:
            closed_at = _closing_quote(text, at)
            # Where one quote of a line is not closed, no later one is: all that follow it are escaped.
            is_open = closed_at < 0
    return [part for part in (*parts, text[start:]) if part]


def _closing_quote(text: str, opening: int) -> int:
    """Return the index of the end of a quoted text, -1 if its line ends first."""
    at = opening + 1
    while (mark := _IN_QUOTES.search(text, at)) is not None:
        if mark[0] == '"':
            return mark.start()
        at = mark.end() + 1
        if mark[0] == "\n" or text[mark.end() : at] in ("", "\n"):
            return -1
    return -1
