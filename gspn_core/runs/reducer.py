"""The reducer: a pure function from a run's view and an event to its next view; no threads, no files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from gspn_core.events import (
    CascadeDone,
    Event,
    MemorySample,
    PictureDone,
    PlanReady,
    Retried,
    StageDone,
    StageStarted,
    StepDone,
    TileDone,
)
from gspn_core.images.png import preview_uri
from gspn_core.planning.costs import pair_calls
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import CascadePlan
from gspn_core.runs.curve import thinned
from gspn_core.runs.estimate import left_seconds
from gspn_core.runs.run import (
    Ended,
    FileWritten,
    JobEvent,
    QueueMoved,
    Replanned,
    RunView,
    StageReused,
    StageView,
    StopAsked,
    kind_of,
)


def apply_event(
    view: RunView,
    event: Event | JobEvent,
    *,
    elapsed_seconds: float | None = None,
    timings: Sequence[StageTiming] = (),
) -> RunView:
    """Return the view after an event.

    Args:
        view: before the event.
        event: from the engine, or one of `gspn_core.runs.run`.
        elapsed_seconds: since the run began; None leaves it unchanged.
        timings: of stages of this model, for the time left.

    Raises:
        TypeError: an unknown event.
    """
    handler = _HANDLERS.get(type(event))
    if handler is None:
        raise TypeError(f"{type(event).__name__} is not an event of a run.")
    if elapsed_seconds is not None:
        view = dataclasses.replace(view, elapsed_seconds=elapsed_seconds)
    view = handler(view, event)
    left = _left(view, timings) if view.state == "running" else None
    return dataclasses.replace(view, left_seconds=left, version=view.version + 1)


def _left(view: RunView, timings: Sequence[StageTiming]) -> float | None:
    return left_seconds(view.stages, timings, view.settings["mixer"]) if view.stages else None


def planned(view: RunView, plan: CascadePlan) -> RunView:
    """Return the view with the plan's resolved settings, notices and waiting stages."""
    stages = tuple(
        StageView(
            index=s.index,
            height=s.size.height,
            width=s.size.width,
            kind=s.kind.name,
            steps=s.steps,
            key=s.key,
            predicted_bytes=s.peak_bytes,
            predicted_seconds=s.seconds,
        )
        for s in plan.stages
    )
    settings = plan.settings.to_dict()
    return dataclasses.replace(view, model=plan.model, settings=settings, notices=plan.notices, stages=stages)


def _on_plan(view: RunView, event: PlanReady) -> RunView:
    # Those that were cached, or finished before the run moved to another worker.
    finished = [stage for stage in view.stages if stage.state == "done"]
    view = planned(dataclasses.replace(view, state="running", queue_position=0), event.plan)
    pairs = zip(view.stages, event.model_calls, strict=True)
    stages = [dataclasses.replace(stage, model_calls=calls) for stage, calls in pairs]
    return dataclasses.replace(view, stages=(*finished, *stages[len(finished) :]))


def _on_stage_started(view: RunView, event: StageStarted) -> RunView:
    plan = event.stage
    stage = StageView(
        index=plan.index,
        height=plan.size.height,
        width=plan.size.width,
        kind=plan.kind.name,
        state="running",
        steps=plan.steps,
        key=plan.key,
        guided_steps=plan.guided_steps,
        model_calls=view.stages[plan.index].model_calls,
        retries=view.stages[plan.index].retries,
        predicted_bytes=plan.peak_bytes,
        predicted_seconds=plan.seconds,
        phase="encode" if plan.kind.encodes and plan.samples else "steps",
    )
    view = dataclasses.replace(view, stage=plan.index, weights=event.weights or view.weights)
    return _with_stage(view, stage)


def _on_step(view: RunView, event: StepDone) -> RunView:
    stage = view.stages[event.stage]
    dilated = [weights.dilated for weights in view.weights] if event.stage else []
    calls = pair_calls(event.step, stage.guided_steps, dilated)
    if kind_of(stage).tiled:
        calls *= stage.model_calls / pair_calls(stage.steps, stage.guided_steps)
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


def _on_tile(view: RunView, event: TileDone) -> RunView:
    stage = dataclasses.replace(
        _measured(view.stages[event.stage], event.memory),
        phase=event.phase,
        tile=event.tile,
        tiles=event.tiles,
        tile_seconds=event.seconds,
    )
    return _with_stage(_remember(view, event.memory), stage)


def _on_stage_done(view: RunView, event: StageDone) -> RunView:
    stage = dataclasses.replace(
        _measured(view.stages[event.stage.index], event.memory),
        state="done",
        step=event.stage.steps,
        seconds=event.seconds,
        processor_seconds=event.processor_seconds,
        phase=None,
        tile=0,
        tiles=0,
    )
    view = dataclasses.replace(view, stage=None, preview=None)
    return _with_stage(_remember(view, event.memory), stage)


def _on_retried(view: RunView, event: Retried) -> RunView:
    """The stage starts again, later ones use the same memory options; keys follow the new plan."""
    stages = tuple(
        dataclasses.replace(
            stage, key=plan.key, predicted_bytes=plan.peak_bytes, predicted_seconds=plan.seconds
        )
        for stage, plan in zip(view.stages, event.plan.stages, strict=True)
    )
    again = dataclasses.replace(
        stages[event.stage],
        state="running",
        step=0,
        phase=event.phase,
        tile=0,
        tiles=0,
        calls_done=0,
        retries=(*stages[event.stage].retries, event.choice),
    )
    return _with_stage(dataclasses.replace(view, stages=stages, preview=None), again)


def _on_cascade_done(view: RunView, _event: CascadeDone) -> RunView:
    return dataclasses.replace(view, state="done", stage=None, preview=None, stopping=None)


def _on_queue_moved(view: RunView, event: QueueMoved) -> RunView:
    state = "queued" if event.position else "running"
    return dataclasses.replace(view, state=state, queue_position=event.position)


def _on_stop_asked(view: RunView, event: StopAsked) -> RunView:
    return dataclasses.replace(view, stopping="after_stage" if event.after_stage else "now")


def _on_reused(view: RunView, event: StageReused) -> RunView:
    stage = view.stages[event.stage]
    done = dataclasses.replace(
        stage,
        state="done",
        step=stage.steps,
        reused=True,
        saved_seconds=event.saved_seconds,
        processor_seconds=event.processor_seconds,
    )
    return _with_stage(view, done)


def _on_file(view: RunView, event: FileWritten) -> RunView:
    change = {f"{event.kind}_path": event.path}
    if event.digest is not None:
        change["digest"] = event.digest
    return _with_stage(view, dataclasses.replace(view.stages[event.stage], **change))


def _on_ended(view: RunView, event: Ended) -> RunView:
    done = sum(stage.state == "done" for stage in view.stages)
    first = "failed" if event.state == "failed" else "stopped"
    stages = tuple(
        stage if i < done else dataclasses.replace(stage, state=first if i == done else "stopped", phase=None)
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
        stopping=None,
    )


_HANDLERS: Mapping[type, Any] = {
    PlanReady: _on_plan,
    StageStarted: _on_stage_started,
    StepDone: _on_step,
    TileDone: _on_tile,
    StageDone: _on_stage_done,
    Retried: _on_retried,
    CascadeDone: _on_cascade_done,
    # Of another run.
    PictureDone: lambda view, _event: view,
    QueueMoved: _on_queue_moved,
    Replanned: lambda view, event: planned(view, event.plan),
    StopAsked: _on_stop_asked,
    StageReused: _on_reused,
    FileWritten: _on_file,
    Ended: _on_ended,
}


def _with_stage(view: RunView, stage: StageView) -> RunView:
    stages = (*view.stages[: stage.index], stage, *view.stages[stage.index + 1 :])
    return dataclasses.replace(view, stages=stages)


def _measured(stage: StageView, memory: MemorySample) -> StageView:
    return dataclasses.replace(stage, peak_bytes=memory.peak_bytes, memory_kind=memory.kind)


def _remember(view: RunView, memory: MemorySample) -> RunView:
    history = thinned((*view.history, (view.elapsed_seconds, memory.now_bytes)))
    return dataclasses.replace(view, memory=memory, history=history)
