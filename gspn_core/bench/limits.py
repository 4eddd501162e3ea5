"""What a benchmark may begin: how long the next size will take at worst, by those before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Time grows with the fourth power of the side where attention is all that counts.
_LARGEST_POWER = 4.0


def expected_seconds(measured: Sequence[tuple[float, float]], side: float) -> float:
    """Return the seconds of the next side at worst, growing as before: by the side's square at the least.

    measured: pairs of side and seconds, the sides ascending; none of them means 0.
    """
    if not measured:
        return 0.0
    last, seconds = measured[-1]
    power = _LARGEST_POWER
    if len(measured) > 1:
        before, fewer = measured[-2]
        power = math.log(max(seconds / fewer, 1.0)) / math.log(last / before)
    return seconds * (side / last) ** min(max(power, 2.0), _LARGEST_POWER)
