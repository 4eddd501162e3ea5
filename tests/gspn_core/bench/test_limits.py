"""The time of the next size follows from those before it."""

import pytest

from gspn_core.bench.limits import expected_seconds


def test_nothing_measured_means_that_anything_may_be_begun():
    assert expected_seconds([], 64) == 0.0


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ([(32, 1.0)], 16.0),
        ([(16, 1.0), (32, 8.0)], 64.0),
        ([(16, 1.0), (32, 2.0)], 8.0),
        ([(16, 1.0), (32, 100.0)], 1600.0),
    ],
    ids=["alone: at worst", "as before", "by the square at the least", "by the fourth power at most"],
)
def test_the_growth_goes_on_within_what_is_possible(measured, expected):
    assert expected_seconds(measured, 64) == pytest.approx(expected)
