"""The page: its parts, which event calls which handler, and how it is launched. It draws; jobs run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from gspn_core.jobs.worker import Jobs
from gspn_core.plan import ModelCard
from gspn_core.settings import FIELD_NAMES
from ui import words
from ui.caching import KeptFiles
from ui.form import Form, build_form, initial_values, next_example
from ui.part import html_part, style_sheets
from ui.runs import Patch, Runs, notice
from ui.theme import ASSETS, studio_theme

# Each follower waits in a thread of its own; the rest is kept for everything else, Stop first of all.
MAX_THREADS = 120
MAX_FOLLOWERS = 96
MAX_WAITING_EVENTS = 200
_STORAGE_KEY = "gspn-studio-job"
# Stored in the visitor's own browser; it keeps the stored value readable after a restart, it guards nothing.
_STORAGE_SECRET = "gspn-studio"
_POLL_SECONDS = 1.0

Build = Callable[[Jobs, ModelCard], gr.HTML]
Wire = Callable[[gr.Blocks, dict[str, Any], Jobs, ModelCard], None]

# The places beside the studio, in any order: how their part is built and how its events are wired.
PLACES: Mapping[str, tuple[Build, Wire]] = {}


def build_page(jobs: Jobs, card: ModelCard, *, machine: Callable[[], str | None]) -> gr.Blocks:
    """Return the page of a model's runs.

    machine: returns in a few words what the model runs on, None while it is still being read.
    """
    runs = Runs(jobs, card, machine=machine)
    with gr.Blocks(title=words.TITLE, analytics_enabled=False, fill_width=True) as page:
        parts: dict[str, Any] = {
            "job": gr.BrowserState(None, storage_key=_STORAGE_KEY, secret=_STORAGE_SECRET)
        }
        with gr.Row(elem_id="studio"):
            parts["masthead"] = html_part(
                "masthead",
                runs.masthead(),
                card=_card_words(card),
                places=[[name, label] for name, label in words.PLACES.items() if name in {"studio", *PLACES}],
                keys=[list(row) for row in words.KEYS],
            )
            with gr.Column(elem_id="settings"):
                with gr.Column(elem_id="fields"):
                    form = build_form(card)
                with gr.Column(elem_id="actions"):
                    parts["notice"] = html_part("notice", notice())
                    with gr.Row(elem_id="run-bar"):
                        parts["run"] = gr.Button(words.RUN, variant="primary", elem_id="run")
                        parts["stop"] = gr.Button(words.STOP, interactive=False, elem_id="stop")
            parts["screen"] = html_part(
                "screen",
                runs.outline_of(initial_values(card)),
                examples=list(card.examples),
                card=_card_words(card),
            )
            parts |= {name: build(jobs, card) for name, (build, _) in PLACES.items()}
        parts |= form.controls
        timer = gr.Timer(_POLL_SECONDS, active=machine() is None)
        _wire_runs(page, parts, form, runs)
        _wire_form(parts, form, runs, card)
        _wire_loading(parts, timer, runs, machine)
        for _, wire in PLACES.values():
            wire(page, parts, jobs, card)
    return page.queue(default_concurrency_limit=None, max_size=MAX_WAITING_EVENTS)


def launch_arguments(folder: Path) -> dict[str, Any]:
    """Return what `launch` needs for this page: its look, and the folders that it may serve files from."""
    return {
        "theme": studio_theme(),
        "css_paths": style_sheets(),
        "favicon_path": ASSETS / "favicon.svg",
        "allowed_paths": [str(folder), str(ASSETS)],
        "app_kwargs": {"middleware": [Middleware(KeptFiles)]},
        "footer_links": [],
        "ssr_mode": False,
        "max_threads": MAX_THREADS,
        "max_file_size": "1mb",
        "pwa": False,
        "quiet": True,
    }


def _card_words(card: ModelCard) -> dict[str, str]:
    return {
        "app": words.TITLE,
        "title": card.title,
        "description": card.description,
        "hint": card.vocabulary_hint,
    }


def _wire_runs(page: gr.Blocks, parts: dict[str, Any], form: Form, runs: Runs) -> None:
    names = ("screen", "notice", "run", "stop", "job")
    private = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_id": "follow",
        "concurrency_limit": MAX_FOLLOWERS,
    }

    def start(*values: Any) -> Iterator[Patch]:
        yield from _named(parts, runs.start(values))

    def follow(job_id: str | None) -> Iterator[Patch]:
        yield from _named(parts, runs.follow(job_id))

    def restore(job_id: str | None, request: gr.Request) -> Iterator[Patch]:
        yield from _named(parts, runs.restore(request.query_params.get("job"), job_id))

    def stop(job_id: str | None) -> Patch:
        return _named_once(parts, runs.stop(job_id))

    outputs = [parts[name] for name in names]
    # Raw values go straight to Settings, so that whatever is wrong with them is said in its words.
    parts["run"].click(start, form.inputs, outputs, trigger_mode="once", preprocess=False, **private)
    parts["stop"].click(
        stop, parts["job"], outputs, queue=False, show_progress="hidden", api_visibility="private"
    )
    parts["screen"].reattach(follow, parts["job"], outputs, trigger_mode="once", **private)
    page.load(
        restore,
        parts["job"],
        [*outputs, parts["masthead"], *form.inputs],
        **private,
    )


def _wire_form(parts: dict[str, Any], form: Form, runs: Runs, card: ModelCard) -> None:
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def reuse(job_id: str | None) -> Patch:
        return _named_once(parts, runs.reuse_seed(job_id))

    def outline(job_id: str | None, *values: Any) -> Patch:
        return _named_once(parts, runs.outline(job_id, values))

    def example(event: gr.EventData) -> str:
        return card.examples[int(event.index) % len(card.examples)]

    form.next_example.click(
        lambda prompt: next_example(prompt, card), parts["prompt"], parts["prompt"], **quiet
    )
    form.seed_random.click(lambda: "", None, parts["seed"], **quiet)
    form.seed_reuse.click(reuse, parts["job"], [parts["seed"], parts["notice"]], **quiet)
    for name in ("target", "aspect", "num_inference_steps", "upscale_strength"):
        parts[name].change(
            outline,
            [parts["job"], *(parts[field] for field in FIELD_NAMES)],
            parts["screen"],
            preprocess=False,
            **quiet,
        )
    parts["screen"].example(example, None, parts["prompt"], **quiet)


def _wire_loading(
    parts: dict[str, Any], timer: gr.Timer, runs: Runs, machine: Callable[[], str | None]
) -> None:
    def tick() -> tuple[dict[str, Any], gr.Timer]:
        return runs.masthead(), gr.Timer(active=machine() is None)

    timer.tick(
        tick,
        None,
        [parts["masthead"], timer],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _named(parts: dict[str, Any], patches: Iterator[Patch]) -> Iterator[Patch]:
    for patch in patches:
        yield _named_once(parts, patch)


def _named_once(parts: dict[str, Any], patch: Patch) -> Patch:
    return {parts[name]: value for name, value in patch.items()}
