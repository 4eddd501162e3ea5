"""A curve of memory over time with a bounded number of points."""

from __future__ import annotations

MAX_HISTORY = 200


def thinned(points: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """Return at most MAX_HISTORY points; drops the least significant ones, never an end or the peak."""
    kept = list(points)
    while len(kept) > MAX_HISTORY:
        highest = max(range(len(kept)), key=lambda i: kept[i][1])
        inner = (i for i in range(1, len(kept) - 1) if i != highest)
        kept.pop(min(inner, key=lambda i: kept[i + 1][0] - kept[i - 1][0]))
    return tuple(kept)
