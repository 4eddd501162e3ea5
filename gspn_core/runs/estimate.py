"""The time left of a run, from the timings of its own and of earlier stages. Pure; reads no clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gspn_core.planning.timing import HALF_PAIR, StageTiming, timing_at
from gspn_core.planning.types import MemoryOptions, StagePlan
from gspn_core.runs.run import StageView, kind_of
from gspn_core.settings import Mixer


def stage_timing(stage: StageView, mixer: Mixer, *, encodes: bool) -> StageTiming | None:
    """Return the timing of a stage so far; None before its first step. encodes: it started from an image.

    The first step includes warm-up, so it counts only while it is the only one.
    """
    if not stage.calls_done:
        return None
    if stage.calls_done > stage.first_calls:
        span = stage.last_step_seconds - stage.first_step_seconds
        step = span / (stage.calls_done - stage.first_calls)
    else:
        step = stage.first_step_seconds / stage.first_calls
    return StageTiming(
        mixer=mixer,
        height=stage.height,
        width=stage.width,
        encode_seconds=max(0.0, stage.first_step_seconds - step * stage.first_calls) if encodes else None,
        step_seconds=step,
        decode_seconds=_decode_seconds(stage),
        peak_bytes=stage.peak_bytes,
        source="run",
    )


def finished_timing(plan: StagePlan, stage: StageView) -> StageTiming | None:
    """Return the timing of a finished stage for later runs.

    None if it is not representative: it took a single step, used the refiner, a control or memory options,
    read a text of several chunks, was drawn in tiles, or had too few evaluations to separate them from its
    warm-up.
    """
    plain = plan.choices == MemoryOptions() and not stage.retries and not plan.refiner_steps
    plain = plain and plan.text_chunks == 1 and plan.tiling is None and plan.condition is None
    # An inpainting model encodes a second picture, and a timing has the seconds of one.
    encodes = plan.kind.encodes + plan.inpaints
    timing = stage_timing(stage, plan.settings.mixer, encodes=encodes > 0)
    if plan.backbone == "x4":
        # Timings are of the model's own UNet.
        return None
    if timing is None or not plain or stage.calls_done <= stage.first_calls or timing.step_seconds <= 0:
        return None
    # Half of a pair counts as half an evaluation, but takes a little longer than half.
    share = 1.0 if plan.guided_steps else 0.5 / HALF_PAIR
    encode = timing.encode_seconds and timing.encode_seconds / encodes
    return dataclasses.replace(timing, step_seconds=timing.step_seconds * share, encode_seconds=encode)


def planned_seconds(stage: StagePlan, calls: float, timings: Sequence[StageTiming]) -> float | None:
    """Return the seconds of a planned stage with that many UNet evaluations; None if unknown."""
    if not stage.steps:
        return 0.0
    if stage.seconds is not None:
        return stage.seconds
    if stage.backbone == "x4":
        return None
    timing = timing_at(timings, stage.settings.mixer, stage.size.height, stage.size.width)
    if timing is None or stage.tiling is not None:
        return None
    if stage.condition is not None:
        return None
    return timing.seconds(calls, encodes=stage.kind.encodes)


def left_seconds(stages: Sequence[StageView], timings: Sequence[StageTiming], mixer: Mixer) -> float | None:
    """Return the seconds until the last stage is done; None while nothing comparable was timed.

    Args:
        stages: the run's stages.
        timings: of earlier runs of this model, and measurements.
        mixer: the run's mixer.
    """
    # A timing at the stage's own size is preferred to interpolating this run's other stages.
    drawn = (_so_far(stage, mixer) for stage in stages if stage.kind != "x4" and not kind_of(stage).tiled)
    own = [timing for timing in drawn if timing is not None]
    total = 0.0
    for stage in stages:
        part = _stage_left(stage, (*own, *timings), mixer)
        if part is None:
            return None
        total += part
    return total


def _stage_left(stage: StageView, timings: Sequence[StageTiming], mixer: Mixer) -> float | None:
    if stage.state == "done" or not stage.steps:
        # A stage without steps is a kept picture and takes no time.
        return 0.0
    running = _so_far(stage, mixer)
    if running is not None and stage.phase == "decode" and stage.tile:
        return _tile_seconds(stage) * (stage.tiles - stage.tile)
    known = None if stage.kind == "x4" else timing_at(timings, mixer, stage.height, stage.width)
    if running is not None:
        decode = (known.decode_seconds if known is not None else None) or 0.0
        return (stage.model_calls - stage.calls_done) * running.step_seconds + decode
    if known is None or not stage.model_calls or kind_of(stage).tiled:
        return stage.predicted_seconds
    return known.seconds(stage.model_calls, encodes=stage.index > 0)


def _so_far(stage: StageView, mixer: Mixer) -> StageTiming | None:
    return stage_timing(stage, mixer, encodes=stage.index > 0)


def _decode_seconds(stage: StageView) -> float | None:
    if stage.seconds is not None:
        return max(0.0, stage.seconds - stage.last_step_seconds)
    if stage.phase == "decode" and stage.tile:
        return _tile_seconds(stage) * stage.tiles
    return None


def _tile_seconds(stage: StageView) -> float:
    return max(0.0, stage.tile_seconds - stage.last_step_seconds) / stage.tile
