from __future__ import annotations

import pytest

from gspn_core.planning.timing import StageTiming, preferred, timing_at


def timing(
    px: int, seconds: float, mixer: str = "gspn", *, source: str = "measurement", **values
) -> StageTiming:
    around = {"encode_seconds": None, "decode_seconds": None, **values}
    return StageTiming(mixer=mixer, height=px, width=px, step_seconds=seconds, source=source, **around)


def step_at(timings, px: int, mixer: str = "gspn", **options) -> float:
    return timing_at(timings, mixer, px, px, **options).step_seconds


def test_a_timed_size_takes_its_timing():
    known = [timing(64, 1.0, decode_seconds=0.5), timing(128, 5.0, encode_seconds=0.2, decode_seconds=3.0)]
    found = timing_at(known, "gspn", 128, 128)
    assert (found.step_seconds, found.encode_seconds, found.decode_seconds) == (5.0, 0.2, 3.0)


def test_between_two_sizes_seconds_are_a_straight_line_on_logarithmic_axes():
    known = [timing(256, 16.0), timing(64, 1.0)]
    # On a logarithmic axis 128 px is halfway from 64 to 256 px, and 4 halfway from 1 to 16.
    assert step_at(known, 128) == pytest.approx(4.0)
    assert timing_at(known, "gspn", 64, 256).step_seconds == pytest.approx(4.0)


def test_beyond_the_sizes_seconds_grow_with_the_pixels():
    known = [timing(64, 1.0, decode_seconds=0.5), timing(128, 3.0, decode_seconds=1.0)]
    assert step_at(known, 256) == pytest.approx(4 * 3.0)
    assert step_at(known, 32) == pytest.approx(1.0 / 4)
    assert timing_at(known, "gspn", 256, 256).decode_seconds == pytest.approx(4.0)


def test_attention_is_known_beyond_its_sizes_only_from_operations():
    known = [timing(64, 1.0, "attention"), timing(128, 5.0, "attention")]
    assert timing_at(known, "attention", 256, 256) is None
    assert timing_at(known, "attention", 32, 32) is None
    assert step_at(known, 96, "attention") > 1.0
    quadratic = step_at(
        known, 256, "attention", operations=lambda _mixer, height, width: (height * width) ** 2
    )
    assert quadratic == pytest.approx(16 * 5.0)


def test_a_mixer_that_was_never_timed_follows_from_another_where_operations_are_known():
    known = [timing(64, 1.0, "attention")]
    assert timing_at(known, "gspn", 64, 64) is None
    cost = {"attention": 3.0, "gspn": 6.0}
    assert step_at(known, 64, operations=lambda mixer, *_: cost[mixer]) == pytest.approx(2.0)


def test_the_autoencoder_takes_the_same_with_whatever_mixer_it_was_timed():
    known = [timing(64, 1.0), timing(128, 9.0, "attention", encode_seconds=0.4, decode_seconds=0.8)]
    found = timing_at(known, "gspn", 64, 64)
    assert (found.encode_seconds, found.decode_seconds) == (pytest.approx(0.1), pytest.approx(0.2))


def test_without_timings_nothing_is_known():
    assert timing_at([], "gspn", 64, 64) is None
    assert timing_at([], "gspn", 64, 64, operations=lambda *_: 1.0) is None


def test_of_two_sources_the_one_that_is_asked_for_counts():
    both = [timing(64, 1.0), timing(64, 1.5, source="run"), timing(32, 0.1)]
    assert [one.step_seconds for one in preferred(both, "run")] == [0.1, 1.5]
    assert [one.step_seconds for one in preferred(both, "measurement")] == [0.1, 1.0]
    assert step_at(both, 64) == 1.5


def test_a_stage_takes_its_parts():
    one = timing(64, 2.0, encode_seconds=1.0, decode_seconds=0.5)
    assert one.seconds(3, encodes=True) == 7.5
    assert one.seconds(3, encodes=False) == 6.5
    assert timing(64, 2.0).seconds(3, encodes=True) == 6.0
