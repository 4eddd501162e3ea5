from __future__ import annotations

import dataclasses
import json
from typing import get_args

import pytest

from gspn_core.events import (
    CascadeDone,
    Event,
    PictureDone,
    PlanReady,
    Retried,
    StageDone,
    StageStarted,
    StepDone,
    TileDone,
)
from gspn_core.planning.timing import StageTiming
from gspn_core.runs.reducer import apply_event, planned
from gspn_core.runs.run import (
    Ended,
    FileWritten,
    JobEvent,
    QueueMoved,
    Replanned,
    RunView,
    StageReused,
    StopAsked,
)


def new_view() -> RunView:
    return RunView(id="a" * 22, created=0.0)


def views_of(events, view: RunView | None = None) -> list[tuple[Event, RunView]]:
    """Apply events one second apart; return each with the view after it."""
    view, seen = view or new_view(), []
    for second, event in enumerate(events):
        view = apply_event(view, event, elapsed_seconds=float(second))
        seen.append((event, view))
    return seen


def first(kind: type, events, *, after: int = 0) -> RunView:
    """Return the view after the first event of a kind in the stage `after`."""
    return next(
        view
        for event, view in views_of(events)
        if isinstance(event, kind) and (view.stage is None or view.stage == after)
    )


def test_every_event_makes_a_newer_view_and_the_last_one_is_done(events):
    seen = [view for _, view in views_of(events)]
    assert [view.version for view in seen] == list(range(1, len(events) + 1))
    assert [view.state for view in seen] == ["running"] * (len(events) - 1) + ["done"]
    assert seen[-1].elapsed_seconds == len(events) - 1
    assert seen[-1].is_final
    assert not seen[-2].is_final


def test_the_plan_resolves_the_settings_and_sets_out_the_stages(plan):
    view = apply_event(new_view(), PlanReady(plan=plan, model_calls=(4, 3, 2)))
    assert view.settings == plan.settings.to_dict()
    assert [stage.model_calls for stage in view.stages] == [4, 3, 2]
    assert [(s.height, s.width, s.steps, s.state) for s in view.stages] == [
        (64, 64, 4, "waiting"),
        (128, 128, 2, "waiting"),
        (256, 256, 2, "waiting"),
    ]
    assert view.model == "toy"


def test_a_step_moves_its_stage_alone_and_brings_a_preview(events):
    view = first(StepDone, events)
    running, waiting = view.stages[0], view.stages[1]
    assert (running.state, running.step, running.steps, running.phase) == ("running", 1, 4, "steps")
    assert (waiting.state, waiting.step) == ("waiting", 0)
    assert view.preview.startswith("data:image/jpeg;base64,")
    assert view.memory.now_bytes == 1_001
    assert (running.peak_bytes, running.memory_kind, running.seconds) == (2_000, "process", None)


def test_a_later_stage_encodes_first_and_every_stage_decodes_last(events):
    assert first(StageStarted, events, after=0).stages[0].phase == "steps"
    assert first(StageStarted, events, after=1).stages[1].phase == "encode"
    last_step = [view for event, view in views_of(events) if isinstance(event, StepDone)][3]
    assert last_step.stages[0].phase == "decode"
    tile = first(TileDone, events).stages[0]
    assert (tile.phase, tile.tile, tile.tiles) == ("decode", 1, 2)


def test_a_finished_stage_keeps_its_seconds_and_its_peak(events):
    view = first(StageDone, events)
    stage = view.stages[0]
    assert (stage.state, stage.seconds, stage.peak_bytes, stage.phase) == ("done", 6.0, 5_000, None)
    assert view.stage is None
    assert view.preview is None


def test_the_dilated_branch_counts_as_a_model_call_of_its_own(events):
    calls = [
        (view.stages[event.stage].calls_done, view.stages[event.stage].model_calls)
        for event, view in views_of(events)
        if isinstance(event, StepDone)
    ]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4), (2, 3), (3, 3), (2, 3), (3, 3)]


def test_the_weights_are_those_of_the_latest_later_stage(events):
    assert first(StepDone, events, after=0).weights == ()
    assert [w.dilated for w in first(StageStarted, events, after=1).weights] == [True, False]
    assert views_of(events)[-1][1].weights


def test_a_file_is_found_in_its_stage_and_leaves_the_clock_alone(events):
    view = views_of(events)[-1][1]
    after = apply_event(view, FileWritten(stage=1, kind="png", path="/x/stage-1.png"))
    assert after.stages[1].png_path == "/x/stage-1.png"
    assert after.stages[1].proxy_path is None
    assert after.elapsed_seconds == view.elapsed_seconds
    assert after.state == "done"


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_an_early_end_keeps_finished_stages_and_closes_the_others(events, state):
    seen = [view for event, view in views_of(events) if isinstance(event, StepDone)]
    view = apply_event(seen[4], Ended(state=state, error="It failed."))
    assert [stage.state for stage in view.stages] == ["done", state, "stopped"]
    assert (view.state, view.error, view.stage, view.left_seconds) == (state, "It failed.", None, None)


def test_the_queue_position_is_shown_until_the_run_begins():
    view = apply_event(new_view(), QueueMoved(position=2))
    assert (view.state, view.queue_position) == ("queued", 2)
    view = apply_event(view, QueueMoved(position=0))
    assert (view.state, view.queue_position) == ("running", 0)


def test_a_stop_that_was_asked_for_shows_until_the_end():
    view = apply_event(apply_event(new_view(), QueueMoved(position=0)), StopAsked(after_stage=True))
    assert (view.state, view.stopping) == ("running", "after_stage")
    view = apply_event(view, StopAsked())
    assert view.stopping == "now"
    assert apply_event(view, Ended(state="stopped")).stopping is None


def test_every_kind_of_event_is_folded(plan, events):
    view = planned(new_view(), plan)
    extra = [
        QueueMoved(position=1),
        StopAsked(),
        Replanned(plan=plan),
        StageReused(stage=0),
        FileWritten(stage=0, kind="proxy", path="p"),
        Ended(state="stopped"),
        Retried(stage=1, phase="steps", choice="serial_guidance", plan=plan),
        PictureDone(seed=8, done=next(event for event in events if isinstance(event, StageDone))),
    ]
    for event in [*events, *extra]:
        assert apply_event(view, event).version == view.version + 1
    assert {type(event) for event in [*events, *extra]} == {*get_args(Event), *get_args(JobEvent)}


def test_a_stage_that_begins_again_says_with_what_and_takes_the_new_plans_keys(plan, events):
    view = new_view()
    for event in events[:4]:
        view = apply_event(view, event)
    stages = tuple(dataclasses.replace(stage, key=f"new {stage.index}") for stage in plan.stages)
    again = dataclasses.replace(plan, stages=stages)
    for choice in ("serial_guidance", "float8_storage"):
        view = apply_event(view, Retried(stage=0, phase="steps", choice=choice, plan=again))
    view = apply_event(view, dataclasses.replace(events[1], stage=stages[0]))
    assert view.stages[0].retries == ("serial_guidance", "float8_storage")
    assert (view.stages[0].step, view.stages[0].calls_done) == (0, 0)
    assert [stage.key for stage in view.stages] == ["new 0", "new 1", "new 2"]
    assert RunView.from_dict(json.loads(json.dumps(view.to_dict()))).stages == view.stages


@pytest.mark.parametrize("event", [None, "done", object(), 3])
def test_an_unknown_event_is_refused(event):
    with pytest.raises(TypeError, match="is not an event of a run"):
        apply_event(new_view(), event)


def test_folding_changes_no_view_that_was_given_out(events):
    view = new_view()
    before = dataclasses.replace(view)
    views_of(events, view)
    assert view == before


def test_a_view_survives_json(events):
    for _, view in views_of(events):
        assert RunView.from_dict(json.loads(json.dumps(view.to_dict()))) == view


def test_the_time_left_is_unknown_until_a_step_was_measured(events):
    for event, view in views_of(events):
        if isinstance(event, StepDone):
            assert view.left_seconds is not None
            return
        assert view.left_seconds is None


def test_the_time_left_is_exact_where_cost_grows_with_the_pixels(events, plan):
    """The hand-made cascade costs 4^stage seconds per call and as much per tile, nothing else."""
    costs = {0: 6.0, 1: 20.0, 2: 80.0}
    for event, view in views_of(events):
        if isinstance(event, (StepDone, TileDone)) and event.stage:
            rest = costs[event.stage] - event.seconds + sum(costs[i] for i in costs if i > event.stage)
            measured_tail = isinstance(event, TileDone) or event.stage == 2
            assert view.left_seconds == pytest.approx(rest) if measured_tail else view.left_seconds > 0
    assert view.left_seconds is None
    assert isinstance(event, CascadeDone)
    assert len(plan.stages) == 3


def test_earlier_timings_give_the_time_left_at_once(plan):
    def timed(mixer):
        return [
            StageTiming(
                mixer=mixer,
                height=stage.size.height,
                width=stage.size.width,
                encode_seconds=1.0,
                step_seconds=2.0,
                decode_seconds=3.0,
            )
            for stage in plan.stages
        ]

    ready = PlanReady(plan=plan, model_calls=(4, 3, 2))
    view = apply_event(new_view(), ready, timings=timed("gspn"))
    assert view.left_seconds == pytest.approx(2 * 1 + 3 * 3 + 2 * (4 + 3 + 2))
    assert apply_event(new_view(), ready, timings=timed("attention")).left_seconds is None
