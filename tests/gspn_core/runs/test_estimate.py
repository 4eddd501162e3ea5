from __future__ import annotations

import dataclasses

import pytest

from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import MemoryOptions
from gspn_core.runs.estimate import finished_timing, left_seconds, stage_timing
from gspn_core.runs.reducer import apply_event, planned
from gspn_core.runs.run import RunView, StageView


def timed(
    px: int, encode: float | None, step: float, decode: float | None, mixer: str = "gspn"
) -> StageTiming:
    return StageTiming(
        mixer=mixer,
        height=px,
        width=px,
        encode_seconds=encode,
        step_seconds=step,
        decode_seconds=decode,
        source="run",
    )


def left(stages, *timings, mixer="gspn"):
    return left_seconds(stages, timings, mixer)


def stage(index: int = 0, **values) -> StageView:
    side = values.pop("side", 64 * 2**index)
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
    return stage(**{**measured, "side": 64, **values})


def test_nothing_measured_gives_no_number():
    assert stage_timing(stage(), "gspn", encodes=True) is None
    assert left([stage(state="running", model_calls=10)]) is None
    assert left([stage(), stage(1)]) is None


def test_the_first_step_counts_only_while_it_is_the_only_one():
    assert stage_timing(running(), "gspn", encodes=True) == timed(64, 3.0, 2.0, None)
    alone = running(calls_done=1, last_step_seconds=5.0)
    assert stage_timing(alone, "gspn", encodes=True) == timed(64, 0.0, 5.0, None)


def test_a_stage_that_encodes_nothing_does_not_take_its_warm_up_for_encoding():
    assert stage_timing(running(), "gspn", encodes=False) == timed(64, None, 2.0, None)


def test_a_running_stage_has_its_remaining_calls_left():
    assert left([running()]) == pytest.approx(6 * 2.0)


def test_calls_of_tiles_say_nothing_of_the_calls_of_a_whole_stage():
    tiled = running(index=1, kind="tiles", model_calls=80, calls_done=32, first_calls=8)
    later = stage(2, model_calls=4, predicted_seconds=7.0)
    assert left([tiled]) == pytest.approx(48 * 0.25)
    assert left([tiled, later]) == pytest.approx(48 * 0.25 + 7.0)
    assert left([tiled, later], timed(256, 1.0, 3.0, 2.0)) == pytest.approx(48 * 0.25 + 2.0 / 16 + 15.0)
    waiting = stage(1, kind="tiles", model_calls=80, predicted_seconds=7.0)
    assert left([waiting], timed(128, 1.0, 3.0, 2.0)) == 7.0


def test_the_decoding_of_a_size_that_was_timed_before_is_added():
    assert left([running()], timed(64, 9.0, 9.0, 4.0)) == pytest.approx(6 * 2.0 + 4.0)


def test_tiles_that_remain_cost_what_those_before_them_did():
    decoding = running(
        calls_done=10, last_step_seconds=23.0, phase="decode", tile=2, tiles=8, tile_seconds=26.0
    )
    assert left([decoding]) == pytest.approx(6 * 1.5)


def test_a_later_stage_is_scaled_by_its_pixels():
    base = running(state="done", calls_done=10, last_step_seconds=23.0, seconds=25.0)
    later = stage(1, model_calls=14, state="running", phase="encode")
    assert left([base, later]) == pytest.approx(4 * (14 * 2.0 + 2.0))
    waiting = stage(2, model_calls=14)
    assert left([base, later, waiting]) == pytest.approx(20 * (14 * 2.0 + 2.0))


def test_attention_at_one_size_does_not_predict_a_larger_stage():
    base = running(state="done", calls_done=10, last_step_seconds=23.0, seconds=25.0)
    later = stage(1, model_calls=14)
    assert left([base, later], mixer="attention") is None
    known = timed(128, 0.0, 1.0, 0.5, "attention")
    assert left([base, later], known, mixer="attention") == pytest.approx(14.5)
    predicted = dataclasses.replace(later, predicted_seconds=7.0)
    assert left([base, predicted], mixer="attention") == 7.0


def test_a_stage_whose_calls_are_not_known_yet_gives_no_number():
    assert left([stage()], timed(64, 1.0, 1.0, 1.0)) is None


def test_a_timed_size_is_preferred_to_a_scaled_one():
    base = running(state="done", calls_done=10, last_step_seconds=23.0, seconds=25.0)
    assert left([base, stage(1, model_calls=14)], timed(128, 0.5, 1.0, 0.25)) == pytest.approx(14.75)


def test_nothing_is_left_when_every_stage_is_done():
    assert left([running(state="done", seconds=25.0)]) == 0.0


@pytest.fixture
def finished(plan, events):
    """Return the planned stages with their final states."""
    view = planned(RunView(id="j" * 22, created=0.0), plan)
    for event in events:
        view = apply_event(view, event, elapsed_seconds=1.0)
    return list(zip(plan.stages, view.stages, strict=True))


def test_a_finished_stage_is_timed_with_its_peak(finished):
    plan, view = finished[1]
    timing = finished_timing(plan, view)
    assert (timing.mixer, timing.source) == (plan.settings.mixer, "run")
    assert (timing.height, timing.width, timing.peak_bytes) == (view.height, view.width, view.peak_bytes)
    evaluations = view.calls_done
    assert timing.seconds(evaluations, encodes=True) == pytest.approx(view.seconds)


def test_half_pairs_count_as_whole_ones(finished):
    plan, view = finished[1]
    unguided = dataclasses.replace(plan.settings, guidance_stop=0.0)
    alone = dataclasses.replace(plan, settings=unguided)
    whole = finished_timing(plan, view).step_seconds
    assert finished_timing(alone, view).step_seconds == pytest.approx(whole * 0.5 / 0.55)


def test_a_stage_with_memory_options_the_refiner_or_one_step_leaves_no_timing(finished):
    plan, view = finished[1]
    assert (
        finished_timing(dataclasses.replace(plan, choices=MemoryOptions(serial_guidance=True)), view) is None
    )
    assert finished_timing(plan, dataclasses.replace(view, retries=("serial_guidance",))) is None
    assert finished_timing(dataclasses.replace(plan, refiner_steps=2), view) is None
    assert finished_timing(plan, dataclasses.replace(view, calls_done=view.first_calls)) is None


def test_a_stage_with_a_longer_text_is_not_timed(finished):
    plan, view = finished[1]
    assert finished_timing(dataclasses.replace(plan, text_chunks=2), view) is None
