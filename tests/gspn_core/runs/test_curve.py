from __future__ import annotations

import random

from gspn_core.runs.curve import MAX_HISTORY, thinned


def long_run(points: int, highest_at: int) -> tuple[tuple[float, int], ...]:
    rng, kept = random.Random(1), ()
    for second in range(points):
        kept = thinned((*kept, (float(second), 10_000 if second == highest_at else rng.randint(1, 99))))
    return kept


def test_a_short_curve_is_left_alone():
    points = tuple((float(i), i) for i in range(MAX_HISTORY))
    assert thinned(points) == points
    assert thinned(()) == ()


def test_a_long_curve_keeps_its_ends_its_highest_point_and_an_even_spacing():
    kept = long_run(1500, highest_at=637)
    assert len(kept) == MAX_HISTORY
    assert (kept[0][0], kept[-1][0]) == (0.0, 1499.0)
    assert (637.0, 10_000) in kept
    gaps = [b[0] - a[0] for a, b in zip(kept, kept[1:], strict=False)]
    assert min(gaps) > 0
    assert max(gaps) <= 4 * 1500 / MAX_HISTORY
