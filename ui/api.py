"""The page's functions for programs, and for agents over MCP: picture, run, follow, fetch; nothing else."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import gradio as gr

from gspn_core.errors import GspnError
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RunView
from gspn_core.settings import CHOICES, FIELD_NAMES, RANGES, Settings
from ui.form.start import kept_start
from ui.guard.payload import Name, Payload, read
from ui.shared.strings import form_strings, guard_strings, page_strings

NAMES = ("picture", "run", "follow", "fetch")


def wire_api(jobs: RunQueue, following: Mapping[str, Any]) -> None:
    """Publish the functions in the open gradio block. following: options of an event that goes on."""
    gr.api(
        picture_function(jobs), api_name="picture", queue=False, api_description=page_strings.API["picture"]
    )
    gr.api(run_function(jobs), api_name="run", queue=False, api_description=page_strings.API["run"])
    gr.api(
        follow_function(jobs),
        api_name="follow",
        api_description=page_strings.API["follow"],
        concurrency_id=following["concurrency_id"],
        concurrency_limit=following["concurrency_limit"],
    )
    gr.api(fetch_function(jobs), api_name="fetch", queue=False, api_description=page_strings.API["fetch"])


class _Picture(Payload):
    """What gradio_client calls a file that it has sent."""

    orig_name: Name = ""


def picture_function(jobs: RunQueue) -> Callable[[dict], str]:
    """Return the function that keeps a picture, handed in with gradio_client's `handle_file`."""

    def picture(picture: dict) -> str:
        try:
            sent = read(_Picture, picture)
            return kept_start(jobs, picture, sent.orig_name or form_strings.DROP_NAMELESS)
        except GspnError as refusal:
            raise _refused(refusal) from None

    picture.__annotations__ = {"picture": dict, "return": str}
    picture.__doc__ = page_strings.API["picture"]
    return picture


def run_function(jobs: RunQueue) -> Callable[..., str]:
    """Return the function that queues a run; its parameters are the settings with their own defaults."""

    def run(*values: Any) -> str:
        try:
            return jobs.submit(Settings.from_dict(dict(zip(FIELD_NAMES, values, strict=False))))
        except GspnError as refusal:
            raise _refused(refusal) from None

    kinds = {name: _kind(name) for name in FIELD_NAMES}
    defaults = {name: "" if name == "overrides" else getattr(Settings, name, None) for name in FIELD_NAMES}
    run.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if name == "prompt" else defaults[name],
                annotation=kind,
            )
            for name, kind in kinds.items()
        ],
        return_annotation=str,
    )
    run.__annotations__ = {**kinds, "return": str}
    run.__doc__ = page_strings.API["run"]
    return run


def follow_function(jobs: RunQueue) -> Callable[[str], Iterator[dict]]:
    """Return the function that tells a run as it goes on, to its end."""

    def follow(run_id: str) -> Iterator[dict]:
        try:
            with closing(jobs.follow(_name(run_id))) as views:
                for view in views:
                    yield state_of(view)
        except GspnError as refusal:
            raise _refused(refusal) from None

    follow.__annotations__ = {"run_id": str, "return": dict}
    follow.__doc__ = page_strings.API["follow"]
    return follow


def fetch_function(jobs: RunQueue) -> Callable[[str, int], dict]:
    """Return the function that hands out a finished stage's PNG."""

    def fetch(run_id: str, stage: int = 0) -> dict:
        try:
            finished = [one for one in jobs.view(_name(run_id)).stages if one.png_path]
        except GspnError as refusal:
            raise _refused(refusal) from None
        if not isinstance(stage, int):
            raise _refused(GspnError(guard_strings.bad_payload("stage")))
        if stage:
            finished = [one for one in finished if one.index + 1 == stage]
        if not finished:
            raise _refused(GspnError(page_strings.no_picture_yet(stage)))
        last = finished[-1]
        name = f"gspn-{last.width}x{last.height}.png"
        return {"path": last.png_path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    fetch.__annotations__ = {"run_id": str, "stage": int, "return": dict}
    fetch.__doc__ = page_strings.API["fetch"]
    return fetch


def state_of(view: RunView) -> dict[str, Any]:
    """Return a run as it stands, as plain values; stages are numbered from 1."""
    memory = view.memory
    running = view.stages[view.stage] if view.stage is not None else None
    return {
        "state": view.state,
        "queue_position": view.queue_position,
        "error": view.error,
        "notices": list(view.notices),
        "seed": view.settings.get("seed"),
        "seconds": round(view.elapsed_seconds, 3),
        "seconds_left": None if view.left_seconds is None else round(view.left_seconds, 3),
        "memory_bytes": memory.now_bytes if memory else None,
        "peak_bytes": max((stage.peak_bytes or 0 for stage in view.stages), default=0) or None,
        "stage": None if running is None else running.index + 1,
        "step": None if running is None else running.step,
        "steps": None if running is None else running.steps,
        "stages": [
            {
                "number": stage.index + 1,
                "width": stage.width,
                "height": stage.height,
                "state": stage.state,
                "seconds": stage.seconds,
                "reused": stage.reused,
                "can_be_fetched": stage.png_path is not None,
            }
            for stage in view.stages
        ],
    }


def _name(run_id: Any) -> str:
    """Return the id of a run that a program sent; what is not a text is the id of none."""
    return run_id if isinstance(run_id, str) else ""


def _kind(name: str) -> Any:
    """Return a setting's type as JSON knows it."""
    hint = typing.get_type_hints(Settings)[name]
    optional = type(None) in typing.get_args(hint)
    plain: Any = str
    if name in RANGES:
        plain = int if int in (hint, *typing.get_args(hint)) else float
    elif name in CHOICES:
        plain = str
    return typing.Optional[plain] if optional else plain  # noqa: UP045 - gradio reads this spelling alone


def _refused(refusal: GspnError) -> gr.Error:
    return gr.Error(str(refusal), print_exception=False)
