"""The page: its parts, and how it is launched. It draws; jobs run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from gspn_core.events import ModelProgress
from gspn_core.images.load import MAX_FILE_BYTES
from gspn_core.planning.types import ModelCard
from gspn_core.runs.measuring import Measuring
from gspn_core.runs.queue import RunQueue
from gspn_core.studies.runner import Studies
from gspn_core.studies.sample import cell_files
from gspn_core.studies.study import StudyView
from ui.api import wire_api
from ui.compare.compare import build_compare, wire_compare
from ui.form.crops import build_crops
from ui.form.curves import Weights, build_curves
from ui.form.drop import build_drop, wire_drop
from ui.form.form import Form, build_form, build_prompt, initial_values
from ui.form.loras import wire_loras
from ui.form.presets import preset_props
from ui.form.start import wire_start
from ui.form.steering import wire_steering
from ui.guard.blocks import GuardedBlocks
from ui.guard.downloads import MakesFiles
from ui.guard.reading import HANDLERS
from ui.guard.stack import guards
from ui.history.history import build_history, wire_history
from ui.lab.grid import grids_of
from ui.lab.lab import build_lab, wire_lab
from ui.shared.gradio_private import keep_no_statistics, keep_sessions_light, rest_between_looks
from ui.shared.models import ModelPicker, model_choices, wire_models
from ui.shared.part import PAGE, catalogues, font_face, html_part, served_files, style_sheets
from ui.shared.strings import page_strings, studio_strings
from ui.shared.theme import studio_theme
from ui.shared.travel import build_travel
from ui.studio.both import can_run_both
from ui.studio.forecast import Forecast
from ui.studio.handlers import Runs
from ui.studio.instant import build_instant, wire_instant
from ui.studio.measured import build_measured, wire_measured
from ui.studio.props import ahead_props, notice
from ui.wiring import FOLLOWING, forecasts, wire_actions, wire_form, wire_loading, wire_runs

# More than followers may take: the rest is kept for everything else, Stop first of all.
MAX_THREADS = 120
MAX_WAITING_EVENTS = 200
# Gradio keeps some 0.3 MB of each. One that comes back later is created again: no state of a run is in it.
MAX_SESSIONS = 128
# This page has no gr.Progress to look for.
QUEUE_SLEEP_SECONDS = 0.02
PROGRESS_SLEEP_SECONDS = 1.0
# How often uploads are looked through, and how old unused ones may become, in seconds.
UNUSED_UPLOADS = (600, 3600)
_STORAGE_KEY = "gspn-studio-job"
_VISITOR_KEY = "gspn-studio-visitor"
# Stored in the visitor's own browser; it keeps the stored value readable after a restart, it guards nothing.
_STORAGE_SECRET = "gspn-studio"
_POLL_SECONDS = 1.0

Build = Callable[[RunQueue, ModelCard, Sequence[str]], gr.HTML]
Wire = Callable[[gr.Blocks, dict[str, Any], RunQueue, ModelCard], None]

# Places that need nothing but runs, in any order: how their part is built from the runs, the card and the ids
# of the examples, and how its events are wired.
PLACES: Mapping[str, tuple[Build, Wire]] = {
    "compare": (build_compare, wire_compare),
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
    issue: Callable[[], str] = lambda: "",
    picker: ModelPicker | None = None,
    measuring: Measuring | None = None,
    in_space: bool = False,
    examples: Sequence[str] = (),
    grid: StudyView | None = None,
) -> gr.Blocks:
    """Return the page of a model's runs.

    Args:
        jobs: Queues, runs and keeps the runs.
        card: The model's.
        studies: The Lab's.
        weights: Returns what each step of each stage of a plan would mix, None while the model is loaded.
        machine: Returns in a few words what the model runs on, None while it is loaded.
        reading: Returns how far the loading is.
        measured: Returns how many timings of this machine are known, None once no more will come.
        issue: Returns what is wrong with the model, "" for nothing.
        picker: The models that may take its place.
        measuring: What stages cost here.
        in_space: On a Hugging Face Space, which visitors may duplicate on hardware of their own.
        examples: Ids of finished runs that come with the model; the page opens with the first.
        grid: What the Lab opens with.
    """
    runs = Runs(jobs, card, machine=machine, reading=reading, issue=issue, examples=examples)
    with GuardedBlocks(
        title=page_strings.TITLE, analytics_enabled=False, fill_width=True, delete_cache=UNUSED_UPLOADS
    ) as page:
        parts = _stored_in_the_browser()
        with gr.Row(elem_id="studio"):
            parts["masthead"] = _masthead(runs, card, model_choices(picker))
            form = _settings_column(parts, card, in_space=in_space, has_instant=_has_instant(measuring))
            parts["screen"] = _screen(runs, card)
            parts["lab"] = build_lab(card, grid)
            parts["history"] = build_history()
            parts |= {name: build(jobs, card, examples) for name, (build, _) in PLACES.items()}
        parts |= form.controls | {"starting": form.starting, "pictures": form.pictures, "both": form.both}
        parts["asked"] = gr.Number(visible=False)
        timer = gr.Timer(_POLL_SECONDS)
        followers = wire_runs(page, parts, form, runs)
        wire_actions(parts, form, runs, followers)
        changed = forecasts(parts, runs, card, weights)
        wire_form(parts, form, runs, card, changed)
        wire_loading(parts, timer, runs, changed, lambda: (machine() is None, measured()))
        wire_models(parts, picker, runs.masthead)
        wire_instant(parts, form, jobs)
        wire_drop(parts, form, jobs, card)
        wire_start(parts, jobs, card)
        wire_loras(form.loras, parts["loras"], card)
        wire_steering(parts, form.steering, jobs, card)
        wire_measured(parts, measuring, card)
        wire_api(jobs, FOLLOWING)
        wire_lab(parts, form, studies, jobs, card, FOLLOWING, grid)
        wire_history(parts, jobs, lambda visitor: grids_of(studies.list(visitor)))
        for _, wire in PLACES.values():
            wire(page, parts, jobs, card)
    _queue(page)
    return page


def launch_arguments(
    folder: Path,
    *,
    hosts: Sequence[str] = (),
    has_login: bool = False,
    has_mcp: bool = False,
    downloads: MakesFiles | None = None,
) -> dict[str, Any]:
    """Return what `launch` needs for this page: its look, its guards, the folders that it serves from.

    Args:
        folder: Where the runs are.
        hosts: The host names to answer, none for all.
        has_login: Whether visitors sign in.
        has_mcp: Whether agents are served too.
        downloads: Writes files of runs that are asked for; None serves none.
    """
    # A picture of a run is handed out from its own place, not as a copy that stays.
    gr.set_static_paths([folder])
    return {
        "theme": studio_theme(),
        "css": font_face(),
        "css_paths": style_sheets(),
        "favicon_path": PAGE / "shared" / "favicon.svg",
        "allowed_paths": [str(folder), *map(str, [*served_files(), *cell_files()])],
        "app_kwargs": {
            "middleware": guards(folder, hosts, has_login=has_login, has_mcp=has_mcp, downloads=downloads),
            "exception_handlers": HANDLERS,
        },
        "footer_links": [],
        "ssr_mode": False,
        "max_threads": MAX_THREADS,
        "state_session_capacity": MAX_SESSIONS,
        "max_file_size": MAX_FILE_BYTES,
        "pwa": False,
        "quiet": True,
    }


def _queue(page: gr.Blocks) -> None:
    """Let a page's events wait for each other as MAX_WAITING_EVENTS and the pauses above say."""
    page.queue(default_concurrency_limit=None, max_size=MAX_WAITING_EVENTS)
    keep_sessions_light(page)
    keep_no_statistics(page)
    rest_between_looks(page, queue_seconds=QUEUE_SLEEP_SECONDS, progress_seconds=PROGRESS_SLEEP_SECONDS)


def _stored_in_the_browser() -> dict[str, Any]:
    """Return what the visitor's browser keeps: which run was shown last, and which visitor it is."""
    return {
        "job": gr.BrowserState(None, storage_key=_STORAGE_KEY, secret=_STORAGE_SECRET),
        "visitor": gr.BrowserState(None, storage_key=_VISITOR_KEY, secret=_STORAGE_SECRET),
    }


def _masthead(runs: Runs, card: ModelCard, models: list[dict[str, Any]]) -> gr.HTML:
    shown = {"studio", "lab", "history", *PLACES}
    places = [[name, label] for name, label in page_strings.PLACES.items() if name in shown]
    return html_part(
        "shared",
        "masthead",
        runs.masthead(),
        card=_card_words(card),
        places=places,
        keys=[list(row) for row in page_strings.KEYS],
        models=models,
        languages=[[code, name] for code, name in page_strings.LANGUAGES.items()],
        catalogues=catalogues(),
    )


def _has_instant(measuring: Measuring | None) -> bool:
    """Return whether first stages can be drawn between runs: not where nothing can be measured there."""
    return measuring is None or measuring.is_possible


def _settings_column(parts: dict[str, Any], card: ModelCard, *, in_space: bool, has_instant: bool) -> Form:
    """Build the form, the parts that stand in it, and Run under it; the parts are added to `parts`."""
    with gr.Column(elem_id="settings"):
        with gr.Column(elem_id="asked"):
            prompt = build_prompt(card)
        with gr.Column(elem_id="actions"):
            parts["notice"] = html_part("shared", "notice", notice())
            parts["ahead"] = html_part("studio", "ahead", ahead_props(Forecast()), presets=preset_props(card))
            parts["instant"] = build_instant(offered=has_instant)
            parts["stop_after_stage"] = gr.Button(
                studio_strings.STOP_AFTER_STAGE, visible=False, size="sm", elem_id="stop-after-stage"
            )
            with gr.Row(elem_id="run-bar"):
                parts["run"] = gr.Button(studio_strings.RUN, variant="primary", elem_id="run")
                parts["stop"] = gr.Button(studio_strings.STOP, interactive=False, elem_id="stop")
            if in_space:
                with gr.Column(elem_id="space"):
                    gr.Markdown(page_strings.SPACE_HARDWARE)
                    gr.DuplicateButton(page_strings.DUPLICATE, size="sm")
        # Shown above Run, and yet after it: who has typed a prompt is a few presses of Tab away from Run.
        with gr.Column(elem_id="fields"):
            form = build_form(card, *prompt, has_both=can_run_both(card))
            parts["drop"] = build_drop()
            parts["travel"] = build_travel()
            parts["curves"] = build_curves()
            parts["crops"] = build_crops(card)
            parts["measured"] = build_measured()
    return form


def _screen(runs: Runs, card: ModelCard) -> gr.HTML:
    return html_part(
        "studio",
        "screen",
        runs.outline_of(initial_values(card)),
        examples=list(card.examples),
        gallery=runs.gallery(),
        card=_card_words(card),
    )


def _card_words(card: ModelCard) -> dict[str, str]:
    return {
        "app": page_strings.TITLE,
        "title": card.title,
        "description": page_strings.described(card),
        "hint": card.vocabulary_hint,
    }
