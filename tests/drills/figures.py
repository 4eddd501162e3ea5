"""A drill's figures, each against its bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure. bound: the most that it may be, or the least where `at_least`; seen: what was counted."""

    what: str
    value: float
    bound: float
    unit: str = ""
    at_least: bool = False
    seen: str = ""

    @property
    def holds(self) -> bool:
        """Return whether the figure is within its bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        limit = "at least" if self.at_least else "at most"
        unit = f" {self.unit}" if self.unit else ""
        seen = f": {self.seen}" if self.seen and not self.holds else ""
        verdict = "" if self.holds else "   FAILS"
        return f"{self.what}: {self.value:,.4g}{unit} ({limit} {self.bound:,.4g}){verdict}{seen}"


# A drill does something so many times, tells of each how far it is, and returns what it measured.
Drill = Callable[[int, Callable[[int], None]], list[Figure]]


def slope(values: list[float]) -> float:
    """Return the least-squares slope of values over their index."""
    count = len(values)
    if count < 2:
        return 0.0
    middle, mean = (count - 1) / 2, sum(values) / count
    spread = sum((i - middle) ** 2 for i in range(count))
    return sum((i - middle) * (value - mean) for i, value in enumerate(values)) / spread


def quantile(values: list[float], share: float) -> float:
    """Return the value that a share of all values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
