"""How long a run still takes, from what was measured in it or in earlier runs. Pure; knows no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds of a stage at one size: before its steps, per evaluation of the UNet, and after its steps."""

    head_seconds: float
    call_seconds: float
    tail_seconds: float

    def scaled(self, factor: float) -> Rate:
        """Return the rate of a picture with `factor` times the pixels, taking all costs as linear."""
        return Rate(
            head_seconds=self.head_seconds * factor,
            call_seconds=self.call_seconds * factor,
            tail_seconds=self.tail_seconds * factor,
        )


class Measured(Protocol):
    """The part of a stage's view that an estimate reads."""

    index: int
    height: int
    width: int
    state: str
    steps: int
    seconds: float | None
    phase: str | None
    tile: int
    tiles: int
    tile_seconds: float
    model_calls: float
    calls_done: float
    first_calls: float
    first_step_seconds: float
    last_step_seconds: float
    predicted_seconds: float | None


def measured_rate(stage: Measured) -> Rate | None:
    """Return what a stage has measured so far; None before its first step.

    The first step also pays for whatever warms up, so it counts only while it is the only one.
    """
    if not stage.calls_done:
        return None
    if stage.calls_done > stage.first_calls:
        span = stage.last_step_seconds - stage.first_step_seconds
        call = span / (stage.calls_done - stage.first_calls)
    else:
        call = stage.first_step_seconds / stage.first_calls
    head = max(0.0, stage.first_step_seconds - call * stage.first_calls)
    return Rate(head_seconds=head, call_seconds=call, tail_seconds=_tail(stage))


def _tail(stage: Measured) -> float:
    if stage.seconds is not None:
        return max(0.0, stage.seconds - stage.last_step_seconds)
    return _decode_tile_seconds(stage) * stage.tiles


def _decode_tile_seconds(stage: Measured) -> float:
    if stage.phase != "decode" or not stage.tile:
        return 0.0
    return max(0.0, stage.tile_seconds - stage.last_step_seconds) / stage.tile


def left_seconds(
    stages: Sequence[Measured], rates: Mapping[tuple[int, int], Rate], *, linear: bool = True
) -> float | None:
    """Return the seconds until the last stage is done, or None while nothing comparable was measured.

    rates: what earlier runs of this model and mixer measured, by (height, width). linear: the mixer's cost
    grows with the pixels, so that a measured stage tells of a larger one; otherwise only its own size does.
    """
    total = 0.0
    for stage in stages:
        if stage.state == "done":
            continue
        part = _stage_left(stage, stages if linear else (), rates)
        if part is None:
            return None
        total += part
    return total


def _stage_left(
    stage: Measured, comparable: Sequence[Measured], rates: Mapping[tuple[int, int], Rate]
) -> float | None:
    if not stage.steps:
        # A picture that is kept; it is there at once.
        return 0.0
    known = rates.get((stage.height, stage.width)) or _scaled_from_earlier(stage, comparable)
    own = measured_rate(stage)
    if own is None:
        if known is None or not stage.model_calls:
            return stage.predicted_seconds
        return known.head_seconds + stage.model_calls * known.call_seconds + known.tail_seconds
    if stage.phase == "decode" and stage.tile:
        return _decode_tile_seconds(stage) * (stage.tiles - stage.tile)
    tail = known.tail_seconds if known else 0.0
    return (stage.model_calls - stage.calls_done) * own.call_seconds + tail


def _scaled_from_earlier(stage: Measured, stages: Sequence[Measured]) -> Rate | None:
    for earlier in reversed(stages[: stage.index]):
        rate = measured_rate(earlier)
        if rate is not None:
            return rate.scaled(stage.height * stage.width / (earlier.height * earlier.width))
    return None
