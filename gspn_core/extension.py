"""New parts at the sides of a picture as text, in percent of its width (left, right) or height (top, bottom).

left 25 right 25
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from gspn_core.errors import BadSetting

MAX_EXTEND_PERCENT = 100
MAX_EXTEND_CHARACTERS = 100
_SIDES = ("left", "right", "top", "bottom")
_NUMBER = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,2})?)%?")


class Margins(NamedTuple):
    """What is added to a picture at each side, in px."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0


NO_MARGINS = Margins()


@dataclass(frozen=True, kw_only=True)
class Extension:
    """Percent of a picture's width (left, right) or height (top, bottom) that is added at each side."""

    left: float = 0.0
    right: float = 0.0
    top: float = 0.0
    bottom: float = 0.0

    def __str__(self) -> str:
        given = ((side, getattr(self, side)) for side in _SIDES)
        return " ".join(f"{side} {percent:g}" for side, percent in given if percent)

    def margins(self, height: int, width: int, unit: int) -> Margins:
        """Return what is added to a picture of that size, in multiples of `unit` px, one at least."""

        def added(percent: float, side_px: int) -> int:
            return max(1, round(side_px * percent / 100 / unit)) * unit if percent else 0

        return Margins(
            left=added(self.left, width),
            right=added(self.right, width),
            top=added(self.top, height),
            bottom=added(self.bottom, height),
        )


def parse_extension(text: str) -> Extension | None:
    """Return the extension of a text, None for an empty one or zeros; raise BadSetting for any other text."""
    if not isinstance(text, str) or len(text) > MAX_EXTEND_CHARACTERS:
        raise _unreadable(text)
    return _parsed(text)


@lru_cache(maxsize=64)
def _parsed(text: str) -> Extension | None:
    words = re.sub(r"[,;]", " ", text).split()
    names, values = words[::2], words[1::2]
    numbers = [_NUMBER.fullmatch(value) for value in values]
    is_readable = len(names) == len(values) == len(set(names)) and set(names) <= set(_SIDES) and all(numbers)
    if not is_readable:
        raise _unreadable(text)
    percents = {name: float(number[1]) for name, number in zip(names, numbers, strict=True)}
    for name, percent in percents.items():
        if percent > MAX_EXTEND_PERCENT:
            raise BadSetting(
                "extend",
                f"extend: {name} is {percent:g} percent, at most {MAX_EXTEND_PERCENT} fit at a side; "
                f"try {MAX_EXTEND_PERCENT}.",
            )
    return Extension(**percents) if any(percents.values()) else None


def _unreadable(text: object) -> BadSetting:
    return BadSetting(
        "extend",
        "extend must name sides with the percent to add, each once, such as left 25 right 25 top 10, got "
        f"{str(text)[:40]!r}.",
    )
