from __future__ import annotations

import pytest

from gspn_core.runs.estimate import Rate, left_seconds, measured_rate
from gspn_core.runs.run import StageView


def stage(index: int = 0, **values) -> StageView:
    side = 64 * 2**index
    return StageView(index=index, height=side, width=side, steps=10, **values)


def running(**values) -> StageView:
    """A base stage that did 4 of 10 calls: 5 s for the first with its warm-up, 2 s for each of the others."""
    measured = {
        "state": "running",
        "phase": "steps",
        "model_calls": 10,
        "calls_done": 4,
        "first_calls": 1,
        "first_step_seconds": 5.0,
        "last_step_seconds": 11.0,
    }
    return stage(**{**measured, **values})


def test_nothing_measured_gives_no_number():
    assert measured_rate(stage()) is None
    assert left_seconds([stage(state="running", model_calls=10)], {}) is None
    assert left_seconds([stage(), stage(1)], {}) is None


def test_the_first_step_counts_only_while_it_is_the_only_one():
    assert measured_rate(running()) == Rate(head_seconds=3.0, call_seconds=2.0, tail_seconds=0.0)
    alone = running(calls_done=1, last_step_seconds=5.0)
    assert measured_rate(alone) == Rate(head_seconds=0.0, call_seconds=5.0, tail_seconds=0.0)


def test_a_running_stage_has_its_remaining_calls_left():
    assert left_seconds([running()], {}) == pytest.approx(6 * 2.0)


def test_the_tail_of_a_size_that_was_measured_before_is_added():
    known = {(64, 64): Rate(head_seconds=9.0, call_seconds=9.0, tail_seconds=4.0)}
    assert left_seconds([running()], known) == pytest.approx(6 * 2.0 + 4.0)


def test_tiles_that_remain_cost_what_those_before_them_did():
    decoding = running(
        calls_done=10, last_step_seconds=23.0, phase="decode", tile=2, tiles=8, tile_seconds=26.0
    )
    assert left_seconds([decoding], {}) == pytest.approx(6 * 1.5)


def test_a_later_stage_is_scaled_by_its_pixels():
    base = running(state="done", calls_done=10, last_step_seconds=23.0, seconds=25.0)
    told = stage(1, model_calls=14, state="running", phase="encode")
    assert left_seconds([base, told], {}) == pytest.approx(4 * (3.0 + 14 * 2.0 + 2.0))
    waiting = stage(2, model_calls=14)
    assert left_seconds([base, told, waiting], {}) == pytest.approx(20 * (3.0 + 14 * 2.0 + 2.0))


def test_a_mixer_of_quadratic_cost_tells_nothing_of_a_larger_stage():
    base = running(state="done", calls_done=10, last_step_seconds=23.0, seconds=25.0)
    later = stage(1, model_calls=14)
    assert left_seconds([base, later], {}, linear=False) is None
    known = {(128, 128): Rate(head_seconds=0.0, call_seconds=1.0, tail_seconds=0.0)}
    assert left_seconds([base, later], known, linear=False) == pytest.approx(14.0)


def test_a_stage_whose_calls_are_not_told_yet_gives_no_number():
    known = {(64, 64): Rate(head_seconds=1.0, call_seconds=1.0, tail_seconds=1.0)}
    assert left_seconds([stage()], known) is None


def test_a_measured_size_is_preferred_to_a_scaled_one():
    base = running(state="done", calls_done=10, last_step_seconds=23.0, seconds=25.0)
    known = {(128, 128): Rate(head_seconds=0.0, call_seconds=1.0, tail_seconds=0.0)}
    assert left_seconds([base, stage(1, model_calls=14)], known) == pytest.approx(14.0)


def test_nothing_is_left_when_every_stage_is_done():
    assert left_seconds([running(state="done", seconds=25.0)], {}) == 0.0
