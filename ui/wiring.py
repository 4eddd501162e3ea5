"""Which event calls which handler of the studio and its form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr
from gradio.events import Dependency

from gspn_core.planning.types import ModelCard
from gspn_core.settings import FIELD_NAMES
from ui.form.curves import Weights, curves_props
from ui.form.form import Form, next_example
from ui.guard.payload import Name, Payload, Whole, job_of, read, visitor_of
from ui.shared.gradio_private import sent_with
from ui.studio.forecast import KEPT
from ui.studio.handlers import Runs
from ui.studio.props import Patch

# Each follower waits in a thread of its own; the rest is kept for everything else, Stop first of all.
MAX_FOLLOWERS = 96

# What a run on the screen changes.
_SHOWN = ("screen", "notice", "run", "both", "stop", "stop_after_stage", "job", "visitor")

# Numbers the questions of a page about its form, so that a late answer to an early one can be left out.
NUMBERED = "(_, ...values) => [window.questionCount = (window.questionCount || 0) + 1, ...values]"
_MAX_ASKED = 2**53 - 1

# How an event that follows a run or a study goes on.
FOLLOWING: Mapping[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_id": "follow",
    "concurrency_limit": MAX_FOLLOWERS,
}


# Takes the question's number, the run on the screen and what the form holds.
Changed = Callable[..., Patch]


class _OfRun(Payload):
    """A run that an event is about, with its stage or the target to go on to."""

    job: Name = ""
    stage: Whole = -1
    target: Whole = -1


class _Example(Payload):
    """The example that was chosen."""

    index: Whole = 0


def wire_runs(page: gr.Blocks, parts: dict[str, Any], form: Form, runs: Runs) -> list[Any]:
    """Wire what follows a run to its end; return those events, which end when another run is shown."""

    def start(visitor: str | None, pictures: Any, *values: Any) -> Iterator[Patch]:
        yield from _named(parts, runs.start(values, visitor_of(visitor), pictures))

    def both(visitor: str | None, *values: Any) -> Iterator[Patch]:
        yield from _named(parts, runs.both(values, visitor_of(visitor)))

    def follow_run(job_id: str | None, visitor: str | None, event: gr.EventData) -> Iterator[Patch]:
        # A screen that was just given another run names it; what this browser remembers may lag behind.
        shown = read(_OfRun, sent_with(event)).job or job_of(job_id)
        yield from _named(parts, runs.follow(shown, visitor_of(visitor)))

    def restore(job_id: str | None, visitor: str | None, request: gr.Request) -> Iterator[Patch]:
        asked = request.query_params.get("job")
        token, query = visitor_of(visitor), dict(request.query_params)
        yield from _named(parts, runs.restore(asked, job_of(job_id), token, query))

    outputs = [parts[name] for name in _SHOWN]
    form_parts = [parts["masthead"], form.pictures, *form.inputs]
    # Raw values go straight to Settings, so that whatever is wrong with them is said in its words.
    inputs = [parts["visitor"], form.pictures, *form.inputs]
    started = parts["run"].click(start, inputs, outputs, trigger_mode="once", preprocess=False, **FOLLOWING)
    asked = [parts["visitor"], *form.inputs]
    paired = parts["both"].click(both, asked, outputs, trigger_mode="once", preprocess=False, **FOLLOWING)
    remembered = [parts["job"], parts["visitor"]]
    restored = page.load(restore, remembered, [*outputs, *form_parts], **FOLLOWING)
    # The follower before is not cancelled: one that ends just then is an error of 500 in Gradio.
    followed = parts["screen"].reattach(follow_run, remembered, outputs, trigger_mode="once", **FOLLOWING)
    # Who watches a run of another may press Run meanwhile.
    for pressed in (parts["run"], parts["both"]):
        pressed.click(None, None, None, cancels=[followed, restored])
    return [started, paired, followed, restored]


def wire_actions(parts: dict[str, Any], form: Form, runs: Runs, followers: list[Any]) -> None:
    """Wire Stop, and what shows another run in place of the one that is followed."""
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    outputs = [*(parts[name] for name in _SHOWN), form.pictures, *form.inputs]

    def stop(job_id: str | None, visitor: str | None) -> Patch:
        return _named_once(parts, runs.stop(job_of(job_id), visitor_of(visitor)))

    def stop_after_stage(job_id: str | None, visitor: str | None) -> Patch:
        return _named_once(parts, runs.stop(job_of(job_id), visitor_of(visitor), after_stage=True))

    def show(visitor: str | None, event: gr.EventData) -> Patch:
        return _named_once(parts, runs.open(read(_OfRun, sent_with(event)).job, visitor_of(visitor)))

    def look(visitor: str | None, event: gr.EventData) -> Patch:
        return _named_once(parts, runs.look(read(_OfRun, sent_with(event)).job, visitor_of(visitor)))

    def resume(visitor: str | None, event: gr.EventData) -> Patch:
        return _named_once(parts, runs.resume(read(_OfRun, sent_with(event)).job, visitor_of(visitor)))

    def extend(visitor: str | None, event: gr.EventData) -> Patch:
        asked = read(_OfRun, sent_with(event))
        return _named_once(parts, runs.extend(asked.job, asked.target, visitor_of(visitor)))

    def vary(visitor: str | None, event: gr.EventData) -> Patch:
        return _named_once(parts, runs.vary(read(_OfRun, sent_with(event)).job, visitor_of(visitor)))

    def redo(event: gr.EventData, visitor: str | None, *values: Any) -> Patch:
        asked = read(_OfRun, sent_with(event))
        return _named_once(parts, runs.redo(asked.job, asked.stage, values, visitor_of(visitor)))

    screen, visitor = parts["screen"], parts["visitor"]
    parts["stop"].click(stop, [parts["job"], visitor], outputs, **quiet)
    parts["stop_after_stage"].click(stop_after_stage, [parts["job"], visitor], outputs, **quiet)
    for event in (screen.open, screen.pick, screen.resume, screen.extend, screen.vary, screen.redo):
        # Before what shows the other run, or it would end that one's follower too.
        event(None, None, None, cancels=followers)
    screen.open(show, visitor, outputs, **quiet)
    screen.pick(look, visitor, outputs, **quiet)
    screen.look(look, visitor, outputs, trigger_mode="once", **quiet)
    screen.resume(resume, visitor, outputs, **quiet)
    screen.extend(extend, visitor, outputs, **quiet)
    screen.vary(vary, visitor, outputs, **quiet)
    screen.redo(redo, [visitor, *form.inputs], outputs, preprocess=False, **quiet)


def forecasts(parts: dict[str, Any], runs: Runs, card: ModelCard, weights: Weights) -> Changed:
    """Return what answers a change of the form: the run to come, planned once for all that shows it.

    weights: returns what each step of each stage of a plan would mix.
    """

    def changed(asked: Any, job_id: str | None, pictures: Any, *values: Any) -> Patch:
        ahead = runs.forecast(values, pictures)
        answer = {"curves": curves_props(ahead.plan, card, weights), **runs.outline(job_of(job_id), ahead)}
        number = asked if isinstance(asked, int) and 0 < asked <= _MAX_ASKED else 0
        numbered = {name: value | {"asked": number} for name, value in answer.items() if value is not None}
        return _named_once(parts, numbered)

    return changed


def wire_form(parts: dict[str, Any], form: Form, runs: Runs, card: ModelCard, changed: Changed) -> None:
    """Wire the form's own buttons, and what a change of it shows; changed: see `forecasts`."""
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def reuse(job_id: str | None) -> Patch:
        return _named_once(parts, runs.reuse_seed(job_of(job_id)))

    def example(event: gr.EventData) -> str:
        return card.examples[read(_Example, sent_with(event)).index % len(card.examples)]

    form.next_example.click(
        lambda prompt: next_example(prompt, card),
        parts["prompt"],
        parts["prompt"],
        preprocess=False,
        **quiet,
    )
    form.seed_random.click(lambda: "", None, parts["seed"], **quiet)
    form.seed_reuse.click(reuse, parts["job"], [parts["seed"], parts["notice"]], **quiet)
    answer = {
        "fn": changed,
        "inputs": [parts["asked"], parts["job"], form.pictures, *form.inputs],
        "outputs": [parts["ahead"], parts["curves"]],
        "js": NUMBERED,
        "preprocess": False,
        "trigger_mode": "always_last",
        **quiet,
    }
    # All fields as one event, of which only the latest matters: they change together when a run is restored.
    gr.on([*(parts[name].change for name in FIELD_NAMES), form.pictures.change], **answer)
    # A run that has ended may have left stages that can be used again.
    parts["screen"].settled(**answer)
    # Until the model is there, the curves ask.
    parts["curves"].ask(**answer)
    for filled in _wire_suggestions(parts, form, runs):
        # Many fields change one after another, and the first question may be of some of them alone.
        filled.then(**answer)
    parts["screen"].example(example, None, parts["prompt"], **quiet)


def _wire_suggestions(parts: dict[str, Any], form: Form, runs: Runs) -> list[Dependency]:
    """Let buttons change the form as a hand would: of a stage that does not fit, presets, reset, undo.

    Returns:
        The events that fill in several fields at once.
    """
    outputs = [parts["notice"], *form.inputs]
    quiet = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
        "preprocess": False,
    }

    def suggestion(event: gr.EventData, *values: Any) -> Patch:
        return _named_once(parts, runs.suggestion(sent_with(event), values))

    def undo(event: gr.EventData) -> Patch:
        return _named_once(parts, runs.undo(sent_with(event)))

    def reset(*values: Any) -> Patch:
        return _named_once(parts, runs.reset(values))

    def preset(event: gr.EventData, *values: Any) -> Patch:
        return _named_once(parts, runs.preset(sent_with(event), values))

    kept = [parts["notice"], *(parts[name] for name in FIELD_NAMES if name not in KEPT)]
    parts["screen"].suggestion(suggestion, form.inputs, outputs, **quiet)
    parts["ahead"].suggestion(suggestion, form.inputs, outputs, **quiet)
    return [
        parts["ahead"].reset(reset, form.inputs, kept, **quiet),
        parts["ahead"].preset(preset, form.inputs, kept, **quiet),
        parts["notice"].undo(undo, None, outputs, **quiet),
    ]


def wire_loading(
    parts: dict[str, Any],
    timer: gr.Timer,
    runs: Runs,
    changed: Changed,
    loading: Callable[[], tuple[bool, int | None]],
) -> None:
    """Follow the loading of the model, then the measuring of the machine; each changes what a run takes.

    changed: see `forecasts`.
    loading: returns whether the model is still being read, and how much has been measured, None for all.
    """
    seen = gr.State(None)

    def tick(asked: Any, before: Any, job_id: str | None, pictures: Any, *values: Any) -> Patch:
        is_reading, count = loading()
        patch = {timer: gr.Timer(active=is_reading or count is not None), seen: [is_reading, count]}
        if before != [is_reading, count]:
            patch |= {parts["masthead"]: runs.masthead(), **changed(asked, job_id, pictures, *values)}
        elif is_reading:
            patch |= {parts["masthead"]: runs.masthead()}
        return patch

    fields = [parts["pictures"], *(parts[name] for name in FIELD_NAMES)]
    inputs = [parts["asked"], seen, parts["job"], *fields]
    timer.tick(
        tick,
        inputs,
        [parts["masthead"], parts["ahead"], parts["curves"], timer, seen],
        js=NUMBERED,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
        preprocess=False,
    )


def _named(parts: dict[str, Any], patches: Iterator[Patch]) -> Iterator[Patch]:
    for patch in patches:
        yield _named_once(parts, patch)


def _named_once(parts: dict[str, Any], patch: Patch) -> Patch:
    return {parts[name]: value for name, value in patch.items()}
