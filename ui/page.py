"""The page: its parts, which event calls which handler, and how it is launched. It draws; jobs run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from gspn_core.events import ModelProgress
from gspn_core.images.load import MAX_FILE_BYTES
from gspn_core.planning.types import ModelCard
from gspn_core.runs.measuring import Measuring
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES
from gspn_core.studies.runner import Studies
from ui import words
from ui.api import wire_api
from ui.compare import build_compare, wire_compare
from ui.crops import build_crops
from ui.curves import Weights, build_curves, wire_curves
from ui.drop import build_drop, wire_drop
from ui.form import Form, build_form, initial_values, next_example
from ui.guard.blocks import GuardedBlocks
from ui.guard.payload import Name, Payload, Whole, job_of, read, visitor_of
from ui.guard.stack import guards
from ui.history import build_history, wire_history
from ui.lab import build_lab, wire_lab
from ui.measured import build_measured, wire_measured
from ui.models import ModelPicker, model_choices, wire_models
from ui.part import html_part, style_sheets
from ui.runs import Patch, Runs, notice
from ui.start import wire_start
from ui.theme import ASSETS, studio_theme
from ui.travel import build_travel

# Each follower waits in a thread of its own; the rest is kept for everything else, Stop first of all.
MAX_THREADS = 120
MAX_FOLLOWERS = 96
MAX_WAITING_EVENTS = 200
# Between two looks at its queue Gradio sleeps a millisecond, and ten between two looks for gr.Progress, which
# this page has none of: both cost a run on two cores some of its time.
QUEUE_SLEEP_SECONDS = 0.02
PROGRESS_SLEEP_SECONDS = 1.0
# How often uploads are looked through, and how old unused ones may become, in seconds.
UNUSED_UPLOADS = (600, 3600)
_STORAGE_KEY = "gspn-studio-job"
_VISITOR_KEY = "gspn-studio-visitor"
# Stored in the visitor's own browser; it keeps the stored value readable after a restart, it guards nothing.
_STORAGE_SECRET = "gspn-studio"
_POLL_SECONDS = 1.0

# What a run on the screen changes.
_SHOWN = ("screen", "notice", "run", "stop", "stop_after_stage", "job", "visitor")

# How an event that follows a run or a study goes on.
_FOLLOWING: Mapping[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_id": "follow",
    "concurrency_limit": MAX_FOLLOWERS,
}


class _OfRun(Payload):
    """A run that an event is about, with its stage or the target to go on to."""

    job: Name = ""
    stage: Whole = -1
    target: Whole = -1


class _Example(Payload):
    """The example that was chosen."""

    index: Whole = 0


Build = Callable[[RunQueue, ModelCard], gr.HTML]
Wire = Callable[[gr.Blocks, dict[str, Any], RunQueue, ModelCard], None]

# The places beside the studio, in any order: how their part is built and how its events are wired.
PLACES: Mapping[str, tuple[Build, Wire]] = {
    "compare": (build_compare, wire_compare),
    "history": (build_history, wire_history),
}


def build_page(
    jobs: RunQueue,
    card: ModelCard,
    *,
    studies: Studies,
    weights: Weights,
    machine: Callable[[], str | None],
    reading: Callable[[], ModelProgress | None] = lambda: None,
    measured: Callable[[], int | None] = lambda: None,
    trouble: Callable[[], str] = lambda: "",
    shelf: ModelPicker | None = None,
    measuring: Measuring | None = None,
    in_space: bool = False,
) -> gr.Blocks:
    """Return the page of a model's runs.

    weights: returns what each step of each stage would mix; machine: in a few words what the model runs on;
    both return None while it is still being read, and reading tells how far that is. measured: how much is
    known of the machine's pace, None once no more will be before a run. trouble: what is wrong with the
    model; shelf: the models that may take its place; measuring: what stages cost here. in_space: on a
    Hugging Face Space, which visitors may duplicate on hardware of their own.
    """
    runs = Runs(jobs, card, machine=machine, reading=reading, trouble=trouble)
    with GuardedBlocks(
        title=words.TITLE, analytics_enabled=False, fill_width=True, delete_cache=UNUSED_UPLOADS
    ) as page:
        parts: dict[str, Any] = {
            "job": gr.BrowserState(None, storage_key=_STORAGE_KEY, secret=_STORAGE_SECRET),
            "visitor": gr.BrowserState(None, storage_key=_VISITOR_KEY, secret=_STORAGE_SECRET),
        }
        with gr.Row(elem_id="studio"):
            parts["masthead"] = html_part(
                "masthead",
                runs.masthead(),
                card=_card_words(card),
                places=[
                    [name, label]
                    for name, label in words.PLACES.items()
                    if name in {"studio", "lab", *PLACES}
                ],
                keys=[list(row) for row in words.KEYS],
                models=model_choices(shelf),
            )
            with gr.Column(elem_id="settings"):
                with gr.Column(elem_id="fields"):
                    form = build_form(card)
                    parts["drop"] = build_drop()
                    parts["travel"] = build_travel()
                    parts["curves"] = build_curves()
                    parts["crops"] = build_crops(card)
                    parts["measured"] = build_measured()
                with gr.Column(elem_id="actions"):
                    parts["notice"] = html_part("notice", notice())
                    parts["ahead"] = html_part("ahead", {"text": "", "over": False, "remedies": []})
                    parts["stop_after_stage"] = gr.Button(
                        words.STOP_AFTER_STAGE, visible=False, size="sm", elem_id="stop-after-stage"
                    )
                    with gr.Row(elem_id="run-bar"):
                        parts["run"] = gr.Button(words.RUN, variant="primary", elem_id="run")
                        parts["stop"] = gr.Button(words.STOP, interactive=False, elem_id="stop")
                    if in_space:
                        with gr.Column(elem_id="space"):
                            gr.Markdown(words.SPACE_HARDWARE)
                            gr.DuplicateButton(words.DUPLICATE, size="sm")
            parts["screen"] = html_part(
                "screen",
                runs.outline_of(initial_values(card)),
                examples=list(card.examples),
                card=_card_words(card),
            )
            parts["lab"] = build_lab(card)
            parts |= {name: build(jobs, card) for name, (build, _) in PLACES.items()}
        parts |= form.controls | {"starting": form.starting}
        timer = gr.Timer(_POLL_SECONDS)
        followers = _wire_runs(page, parts, form, runs)
        _wire_actions(parts, form, runs, followers)
        _wire_form(parts, form, runs, card)
        _wire_loading(parts, timer, runs, lambda: (machine() is None, measured()))
        wire_models(parts, shelf, runs.masthead)
        wire_drop(parts, form, jobs, card)
        wire_start(parts, jobs, card)
        wire_curves(parts, form, card, weights)
        wire_measured(parts, measuring, card)
        wire_api(jobs, _FOLLOWING)
        wire_lab(parts, form, studies, jobs, card, _FOLLOWING)
        for _, wire in PLACES.values():
            wire(page, parts, jobs, card)
    page.queue(default_concurrency_limit=None, max_size=MAX_WAITING_EVENTS)
    page._queue.sleep_when_free = QUEUE_SLEEP_SECONDS
    page._queue.progress_update_sleep_when_free = PROGRESS_SLEEP_SECONDS
    return page


def launch_arguments(
    folder: Path, *, hosts: Sequence[str] = (), has_login: bool = False, has_mcp: bool = False
) -> dict[str, Any]:
    """Return what `launch` needs for this page: its look, its guards, the folders that it serves from.

    Args:
        folder: Where the runs are.
        hosts: The host names to answer, none for all.
        has_login: Whether visitors sign in.
        has_mcp: Whether agents are served too.
    """
    # A picture of a run is handed out from its own place, not as a copy that stays.
    gr.set_static_paths([folder])
    return {
        "theme": studio_theme(),
        "css_paths": style_sheets(),
        "favicon_path": ASSETS / "favicon.svg",
        "allowed_paths": [str(folder), str(ASSETS)],
        "app_kwargs": {"middleware": guards(folder, hosts, has_login=has_login, has_mcp=has_mcp)},
        "footer_links": [],
        "ssr_mode": False,
        "max_threads": MAX_THREADS,
        "max_file_size": MAX_FILE_BYTES,
        "pwa": False,
        "quiet": True,
    }


def _card_words(card: ModelCard) -> dict[str, str]:
    return {
        "app": words.TITLE,
        "title": card.title,
        "description": words.described(card),
        "hint": card.vocabulary_hint,
    }


def _wire_runs(page: gr.Blocks, parts: dict[str, Any], form: Form, runs: Runs) -> list[Any]:
    """Wire what follows a run to its end; return those events, which end when another run is shown."""

    def start(visitor: str | None, *values: Any) -> Iterator[Patch]:
        yield from _named(parts, runs.start(values, visitor_of(visitor)))

    def follow_run(job_id: str | None, event: gr.EventData) -> Iterator[Patch]:
        # A screen that was just given another run names it; what this browser remembers may lag behind.
        yield from _named(parts, runs.follow(read(_OfRun, event._data).job or job_of(job_id)))

    def restore(job_id: str | None, visitor: str | None, request: gr.Request) -> Iterator[Patch]:
        asked = request.query_params.get("job")
        yield from _named(parts, runs.restore(asked, job_of(job_id), visitor_of(visitor)))

    outputs = [parts[name] for name in _SHOWN]
    # Raw values go straight to Settings, so that whatever is wrong with them is said in its words.
    inputs = [parts["visitor"], *form.inputs]
    started = parts["run"].click(start, inputs, outputs, trigger_mode="once", preprocess=False, **_FOLLOWING)
    followed = parts["screen"].reattach(follow_run, parts["job"], outputs, trigger_mode="once", **_FOLLOWING)
    remembered = [parts["job"], parts["visitor"]]
    restored = page.load(restore, remembered, [*outputs, parts["masthead"], *form.inputs], **_FOLLOWING)
    return [started, followed, restored]


def _wire_actions(parts: dict[str, Any], form: Form, runs: Runs, followers: list[Any]) -> None:
    """Wire Stop, and what shows another run in place of the one that is followed."""
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    outputs = [*(parts[name] for name in _SHOWN), *form.inputs]

    def stop(job_id: str | None, visitor: str | None) -> Patch:
        return _named_once(parts, runs.stop(job_of(job_id), visitor_of(visitor)))

    def stop_after_stage(job_id: str | None, visitor: str | None) -> Patch:
        return _named_once(parts, runs.stop(job_of(job_id), visitor_of(visitor), after_stage=True))

    def show(event: gr.EventData) -> Patch:
        return _named_once(parts, runs.open(read(_OfRun, event._data).job))

    def resume(visitor: str | None, event: gr.EventData) -> Patch:
        return _named_once(parts, runs.resume(read(_OfRun, event._data).job, visitor_of(visitor)))

    def extend(visitor: str | None, event: gr.EventData) -> Patch:
        asked = read(_OfRun, event._data)
        return _named_once(parts, runs.extend(asked.job, asked.target, visitor_of(visitor)))

    def redo(event: gr.EventData, visitor: str | None, *values: Any) -> Patch:
        asked = read(_OfRun, event._data)
        return _named_once(parts, runs.redo(asked.job, asked.stage, values, visitor_of(visitor)))

    screen, visitor = parts["screen"], parts["visitor"]
    parts["stop"].click(stop, [parts["job"], visitor], outputs, **quiet)
    parts["stop_after_stage"].click(stop_after_stage, [parts["job"], visitor], outputs, **quiet)
    for event in (screen.open, screen.resume, screen.extend, screen.redo):
        # Before what shows the other run, or it would end that one's follower too.
        event(None, None, None, cancels=followers)
    screen.open(show, None, outputs, **quiet)
    screen.resume(resume, visitor, outputs, **quiet)
    screen.extend(extend, visitor, outputs, **quiet)
    screen.redo(redo, [visitor, *form.inputs], outputs, preprocess=False, **quiet)


def _wire_form(parts: dict[str, Any], form: Form, runs: Runs, card: ModelCard) -> None:
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def reuse(job_id: str | None) -> Patch:
        return _named_once(parts, runs.reuse_seed(job_of(job_id)))

    def outline(job_id: str | None, *values: Any) -> Patch:
        return _named_once(parts, runs.outline(job_of(job_id), values))

    def example(event: gr.EventData) -> str:
        return card.examples[read(_Example, event._data).index % len(card.examples)]

    form.next_example.click(
        lambda prompt: next_example(prompt, card),
        parts["prompt"],
        parts["prompt"],
        preprocess=False,
        **quiet,
    )
    form.seed_random.click(lambda: "", None, parts["seed"], **quiet)
    form.seed_reuse.click(reuse, parts["job"], [parts["seed"], parts["notice"]], **quiet)
    told = [parts["job"], *(parts[name] for name in FIELD_NAMES)]
    drawn = [parts["screen"], parts["ahead"]]
    latest = {"preprocess": False, "trigger_mode": "always_last", **quiet}
    # All fields as one event, of which only the latest matters: they change together when a run is restored.
    gr.on([parts[name].change for name in FIELD_NAMES], outline, told, drawn, **latest)
    # A run that has ended may have left stages that can be used again.
    parts["screen"].settled(outline, told, drawn, **latest)
    _wire_remedies(parts, form, runs)
    parts["screen"].example(example, None, parts["prompt"], **quiet)


def _wire_remedies(parts: dict[str, Any], form: Form, runs: Runs) -> None:
    """Let a button beside a stage that does not fit change the form as a hand would, and be undone."""
    outputs = [parts["notice"], *form.inputs]
    quiet = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
        "preprocess": False,
    }

    def remedy(event: gr.EventData, *values: Any) -> Patch:
        return _named_once(parts, runs.remedy(event._data, values))

    def undo(event: gr.EventData) -> Patch:
        return _named_once(parts, runs.undo(event._data))

    parts["screen"].remedy(remedy, form.inputs, outputs, **quiet)
    parts["ahead"].remedy(remedy, form.inputs, outputs, **quiet)
    parts["notice"].undo(undo, None, outputs, **quiet)


def _wire_loading(
    parts: dict[str, Any], timer: gr.Timer, runs: Runs, loading: Callable[[], tuple[bool, int | None]]
) -> None:
    """Follow the model's reading, then the machine's measuring: what a run takes is told anew after each.

    loading: returns whether the model is still being read, and how much has been measured, None for all.
    """
    seen = gr.State(None)

    def tick(before: Any, job_id: str | None, *values: Any) -> Patch:
        is_reading, count = loading()
        patch = {timer: gr.Timer(active=is_reading or count is not None), seen: [is_reading, count]}
        if before != [is_reading, count]:
            patch |= _named_once(parts, {"masthead": runs.masthead(), **runs.outline(job_of(job_id), values)})
        elif is_reading:
            patch |= {parts["masthead"]: runs.masthead()}
        return patch

    told = [seen, parts["job"], *(parts[name] for name in FIELD_NAMES)]
    timer.tick(
        tick,
        told,
        [parts["masthead"], parts["screen"], parts["ahead"], timer, seen],
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
