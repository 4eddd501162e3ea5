"""A run as one frozen view, and the pure fold that makes the next view from an event.

Knows nothing of threads, files or the page: `gspn_core.jobs.worker` calls `fold`, the page draws the view.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gspn_core.events import (
    CascadeDone,
    Event,
    MemoryKind,
    MemorySample,
    PlanReady,
    StageDone,
    StageStarted,
    StepDone,
    StepWeights,
    TileDone,
)
from gspn_core.jobs.estimate import Rate, left_seconds
from gspn_core.jobs.history import thinned
from gspn_core.jobs.images import preview_uri
from gspn_core.plan import CascadePlan

JobState = Literal["queued", "running", "done", "stopped", "failed"]
StageState = Literal["waiting", "running", "done", "stopped", "failed"]
Phase = Literal["encode", "steps", "decode"]
RateKey = tuple[str, str, int, int]

FINAL_STATES: tuple[JobState, ...] = ("done", "stopped", "failed")


@dataclass(frozen=True, kw_only=True)
class StageView:
    """A stage as it stands. seconds is None until it is done, peak_bytes until memory was measured.

    proxy_path: a JPEG of at most 1536 px; tiles_path: the folder of its tiles (see `gspn_core.jobs.tiles`);
    png_path: the picture in full; each None until it is written.
    calls_done of model_calls evaluations of the UNet are behind it. The fields after them are kept for the
    estimate of the time left; their seconds count from the stage's start. key: the plan's; reused: an earlier
    run with the same key lent the picture, so there is nothing measured.
    """

    index: int
    height: int
    width: int
    state: StageState = "waiting"
    step: int = 0
    steps: int = 0
    seconds: float | None = None
    peak_bytes: int | None = None
    memory_kind: MemoryKind | None = None
    proxy_path: str | None = None
    tiles_path: str | None = None
    png_path: str | None = None
    phase: Phase | None = None
    tile: int = 0
    tiles: int = 0
    model_calls: int = 0
    calls_done: int = 0
    first_calls: int = 0
    first_step_seconds: float = 0.0
    last_step_seconds: float = 0.0
    tile_seconds: float = 0.0
    key: str = ""
    reused: bool = False


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A run as it stands; `version` grows with every change.

    queue_position: runs that come before it, 0 once it runs or has ended. created: seconds since 1970.
    seed_drawn: the seed was left open by whoever asked for the run.
    stage: index of the stage that runs, None between stages and after the end. weights: those of the latest
    later stage. history: (elapsed seconds, bytes) pairs, thinned. preview: a data URI.
    """

    id: str
    created: float
    model: str = ""
    state: JobState = "queued"
    queue_position: int = 0
    stopping: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    seed_drawn: bool = False
    stages: tuple[StageView, ...] = ()
    stage: int | None = None
    elapsed_seconds: float = 0.0
    left_seconds: float | None = None
    memory: MemorySample | None = None
    history: tuple[tuple[float, int], ...] = ()
    preview: str | None = None
    weights: tuple[StepWeights, ...] = ()
    error: str | None = None
    version: int = 0

    @property
    def is_final(self) -> bool:
        """Tell whether the run has ended, however it did."""
        return self.state in FINAL_STATES

    def to_dict(self) -> dict[str, Any]:
        """Return the view as JSON-ready names and values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> JobView:
        """Return the view that `to_dict` wrote; raise TypeError or KeyError if it is none."""
        memory = values["memory"]
        return cls(
            **{
                **values,
                "notices": tuple(values["notices"]),
                "stages": tuple(StageView(**stage) for stage in values["stages"]),
                "memory": None if memory is None else MemorySample(**memory),
                "history": tuple((seconds, count) for seconds, count in values["history"]),
                "weights": tuple(StepWeights(**weights) for weights in values["weights"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class QueueMoved:
    """A job waits behind `position` others; 0 means that it runs now."""

    position: int


@dataclass(frozen=True, kw_only=True)
class StopAsked:
    """Somebody asked the run to stop; it will at its next step."""


@dataclass(frozen=True, kw_only=True)
class StageReused:
    """A stage's picture was lent by an earlier run with the same key; the stage is not run again."""

    stage: int


@dataclass(frozen=True, kw_only=True)
class FileWritten:
    """A stage's proxy, its tiles or its picture in full lie on disk."""

    stage: int
    kind: Literal["proxy", "tiles", "png"]
    path: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run ended before its target; error is one sentence, or None where it was stopped on purpose."""

    state: Literal["stopped", "failed"]
    error: str | None = None


JobEvent = QueueMoved | StopAsked | StageReused | FileWritten | Ended


def fold(
    view: JobView,
    event: Event | JobEvent,
    *,
    elapsed_seconds: float | None = None,
    rates: Mapping[RateKey, Rate] | None = None,
) -> JobView:
    """Return the view after an event; raise TypeError for one that is unknown.

    elapsed_seconds: since the run began, None leaves it as it was. rates: what earlier runs measured, by
    (model, mixer, height, width).
    """
    handler = _HANDLERS.get(type(event))
    if handler is None:
        raise TypeError(f"{type(event).__name__} is no event of a run.")
    if elapsed_seconds is not None:
        view = dataclasses.replace(view, elapsed_seconds=elapsed_seconds)
    view = handler(view, event)
    left = _left(view, rates or {}) if view.state == "running" else None
    return dataclasses.replace(view, left_seconds=left, version=view.version + 1)


def _left(view: JobView, rates: Mapping[RateKey, Rate]) -> float | None:
    if not view.stages:
        return None
    mixer = view.settings.get("mixer")
    known = {key[2:]: rate for key, rate in rates.items() if key[:2] == (view.model, mixer)}
    return left_seconds(view.stages, known, linear=mixer != "attention")


def planned(view: JobView, plan: CascadePlan) -> JobView:
    """Return the view with the plan's resolved settings, notices and waiting stages."""
    stages = tuple(
        StageView(index=s.index, height=s.size.height, width=s.size.width, steps=s.steps, key=s.key)
        for s in plan.stages
    )
    settings = plan.settings.to_dict()
    return dataclasses.replace(view, model=plan.model, settings=settings, notices=plan.notices, stages=stages)


def _on_plan(view: JobView, event: PlanReady) -> JobView:
    reused = [stage for stage in view.stages if stage.reused]
    view = planned(dataclasses.replace(view, state="running", queue_position=0), event.plan)
    told = zip(view.stages, event.model_calls, strict=True)
    stages = [dataclasses.replace(stage, model_calls=calls) for stage, calls in told]
    return dataclasses.replace(view, stages=(*reused, *stages[len(reused) :]))


def _on_stage_started(view: JobView, event: StageStarted) -> JobView:
    plan = event.stage
    stage = StageView(
        index=plan.index,
        height=plan.size.height,
        width=plan.size.width,
        state="running",
        steps=plan.steps,
        key=plan.key,
        model_calls=view.stages[plan.index].model_calls,
        phase="steps" if plan.is_base else "encode",
    )
    view = dataclasses.replace(view, stage=plan.index, weights=event.weights or view.weights)
    return _with_stage(view, stage)


def _on_step(view: JobView, event: StepDone) -> JobView:
    stage = view.stages[event.stage]
    dilated = sum(weights.dilated for weights in view.weights[: event.step]) if event.stage else 0
    calls = event.step + dilated
    first = stage.calls_done == 0
    stage = dataclasses.replace(
        _measured(stage, event.memory),
        step=event.step,
        steps=event.steps,
        phase="decode" if event.step == event.steps else "steps",
        tile=0,
        tiles=0,
        calls_done=calls,
        first_calls=calls if first else stage.first_calls,
        first_step_seconds=event.seconds if first else stage.first_step_seconds,
        last_step_seconds=event.seconds,
    )
    preview = view.preview if event.preview is None else preview_uri(event.preview)
    return _with_stage(_remember(dataclasses.replace(view, preview=preview), event.memory), stage)


def _on_tile(view: JobView, event: TileDone) -> JobView:
    stage = dataclasses.replace(
        _measured(view.stages[event.stage], event.memory),
        phase=event.phase,
        tile=event.tile,
        tiles=event.tiles,
        tile_seconds=event.seconds,
    )
    return _with_stage(_remember(view, event.memory), stage)


def _on_stage_done(view: JobView, event: StageDone) -> JobView:
    stage = dataclasses.replace(
        _measured(view.stages[event.stage.index], event.memory),
        state="done",
        step=event.stage.steps,
        seconds=event.seconds,
        phase=None,
        tile=0,
        tiles=0,
    )
    view = dataclasses.replace(view, stage=None, preview=None)
    return _with_stage(_remember(view, event.memory), stage)


def _on_cascade_done(view: JobView, _event: CascadeDone) -> JobView:
    return dataclasses.replace(view, state="done", stage=None, preview=None, stopping=False)


def _on_queue_moved(view: JobView, event: QueueMoved) -> JobView:
    state = "queued" if event.position else "running"
    return dataclasses.replace(view, state=state, queue_position=event.position)


def _on_stop_asked(view: JobView, _event: StopAsked) -> JobView:
    return dataclasses.replace(view, stopping=True)


def _on_reused(view: JobView, event: StageReused) -> JobView:
    stage = view.stages[event.stage]
    return _with_stage(view, dataclasses.replace(stage, state="done", step=stage.steps, reused=True))


def _on_file(view: JobView, event: FileWritten) -> JobView:
    change = {f"{event.kind}_path": event.path}
    return _with_stage(view, dataclasses.replace(view.stages[event.stage], **change))


def _on_ended(view: JobView, event: Ended) -> JobView:
    done = sum(stage.state == "done" for stage in view.stages)
    stages = tuple(
        stage
        if i < done
        else dataclasses.replace(stage, state=event.state if i == done else "stopped", phase=None)
        for i, stage in enumerate(view.stages)
    )
    return dataclasses.replace(
        view,
        state=event.state,
        error=event.error,
        stages=stages,
        stage=None,
        preview=None,
        queue_position=0,
        stopping=False,
    )


_HANDLERS: Mapping[type, Any] = {
    PlanReady: _on_plan,
    StageStarted: _on_stage_started,
    StepDone: _on_step,
    TileDone: _on_tile,
    StageDone: _on_stage_done,
    CascadeDone: _on_cascade_done,
    QueueMoved: _on_queue_moved,
    StopAsked: _on_stop_asked,
    StageReused: _on_reused,
    FileWritten: _on_file,
    Ended: _on_ended,
}


def _with_stage(view: JobView, stage: StageView) -> JobView:
    stages = (*view.stages[: stage.index], stage, *view.stages[stage.index + 1 :])
    return dataclasses.replace(view, stages=stages)


def _measured(stage: StageView, memory: MemorySample) -> StageView:
    return dataclasses.replace(stage, peak_bytes=memory.peak_bytes, memory_kind=memory.kind)


def _remember(view: JobView, memory: MemorySample) -> JobView:
    history = thinned((*view.history, (view.elapsed_seconds, memory.now_bytes)))
    return dataclasses.replace(view, memory=memory, history=history)
