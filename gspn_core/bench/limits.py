"""Whether a benchmark starts the next size: how long it will take at most, by those before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Where attention dominates, time grows with the fourth power of the side.
_LARGEST_POWER = 4.0


def expected_seconds(measured: Sequence[tuple[float, float]], side: float) -> float:
    """Return an upper bound of the next side's seconds, growing as before and at least by the side's square.

    measured: (side, seconds), sides ascending; 0 is returned if there are none.
    """
    if not measured:
        return 0.0
    last, seconds = measured[-1]
    power = _LARGEST_POWER
    if len(measured) > 1:
        before, fewer = measured[-2]
        power = math.log(max(seconds / fewer, 1.0)) / math.log(last / before)
    return seconds * (side / last) ** min(max(power, 2.0), _LARGEST_POWER)
