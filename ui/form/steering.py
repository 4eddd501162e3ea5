"""The picture that a ControlNet or T2I-Adapter reads, and which of them there are; drawn by steering.js.

The form holds the picture's reference; the server keeps the picture under it, as an init image.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from gspn_core.errors import GspnError
from gspn_core.images.load import MAX_FILE_BYTES
from gspn_core.planning.types import ModelCard
from gspn_core.runs.queue import RunQueue
from gspn_core.setting_values import start_size
from ui.form.start import answered, kept_start
from ui.guard.files import file_url
from ui.guard.payload import Name, Payload, read, visitor_of
from ui.shared.gradio_private import sent_with
from ui.shared.part import html_part
from ui.shared.strings import control_strings, form_strings, units

CONTROL, IMAGE, TYPE = "control", "control_image", "control_type"
# What is shown of the form only where a network is chosen.
SHOWN_WITH_CONTROL = (TYPE, "control_scale", "control_start", "control_end")
FIELDS = (CONTROL, IMAGE, *SHOWN_WITH_CONTROL)


def build_steering(card: ModelCard) -> gr.HTML:
    """Draw the part into the open gradio block."""
    return html_part("form", "steering", steering_props(card), most_bytes=MAX_FILE_BYTES)


def wire_steering(parts: dict[str, Any], part: gr.HTML, jobs: RunQueue, card: ModelCard) -> None:
    """Let a picture be handed in and let go, and the part follow what the form holds."""
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    control, reference = parts[CONTROL], parts[IMAGE]
    shown_with = [parts[name] for name in SHOWN_WITH_CONTROL]

    def take(event: gr.EventData, chosen: Any, held: Any, visitor: Any) -> list[Any]:
        return taken(jobs, card, sent_with(event), _text(chosen), _text(held), visitor_of(visitor))

    def remove(chosen: Any) -> list[Any]:
        return [answered(steering_props(card, _text(chosen))), ""]

    def show(chosen: Any, held: Any) -> list[Any]:
        name = _text(chosen)
        return [steering_props(card, name, jobs, _text(held)), *fields_shown(card, name)]

    part.take(take, [control, reference, parts["visitor"]], [part, reference], **quiet)
    part.remove(remove, control, [part, reference], **quiet)
    gr.on(
        [control.change, reference.change],
        show,
        [control, reference],
        [part, *shown_with],
        trigger_mode="always_last",
        **quiet,
    )


def has_controls(card: ModelCard) -> bool:
    """Return whether there are networks that can be used with the model."""
    return any(not file.issue for file in card.conditions or ())


def choices_of(card: ModelCard) -> list[tuple[str, str]]:
    """Return the labels and values of the networks that can be chosen, none first."""
    usable = [file for file in card.conditions or () if not file.issue]
    return [(control_strings.NO_CONTROL, ""), *((f"{file.name} ({file.kind})", file.name) for file in usable)]


def fields_shown(card: ModelCard, chosen: str) -> list[dict[str, Any]]:
    """Return which of SHOWN_WITH_CONTROL are visible with a network, "" for none."""
    files = {file.name: file for file in card.conditions or () if not file.issue}
    types = files[chosen].types if chosen in files else 0
    return [gr.update(visible=bool(types if name == TYPE else chosen)) for name in SHOWN_WITH_CONTROL]


def steering_props(
    card: ModelCard, chosen: str = "", jobs: RunQueue | None = None, reference: str = "", *, error: str = ""
) -> dict[str, Any]:
    """Return what the part shows.

    Args:
        card: The model's.
        chosen: The network that the form holds, "" for none; then no picture is asked for.
        jobs: Where the pictures are.
        reference: The picture that the form holds, "" for none.
        error: What was wrong with a picture that was handed in.
    """
    files = card.conditions or ()
    unusable = [f"{file.name} {file.issue}" for file in files if file.issue]
    shown = {
        "note": control_strings.controls_here(
            len(files) - len(unusable), len(unusable), is_given=card.conditions is not None
        ),
        "unusable": unusable,
        "asks": bool(chosen),
        "reference": reference,
        "thumb": None,
        "size": "",
        "error": error,
    }
    if not reference or jobs is None:
        return shown
    try:
        path = jobs.start_proxy(reference)
        size = units.size(*start_size(reference, IMAGE))
    except GspnError as refusal:
        return {**shown, "error": error or str(refusal)}
    gone = "" if path else form_strings.START_GONE
    return {**shown, "thumb": file_url(str(path)) if path else None, "size": size, "error": error or gone}


class _Sent(Payload):
    """A file that was sent here before, and what it is called."""

    path: Name = ""
    name: Name = ""


def taken(jobs: RunQueue, card: ModelCard, sent: Any, chosen: str, held: str, visitor: str = "") -> list[Any]:
    """Return part and reference once a file that was sent here is read; a refusal changes nothing."""
    asked = read(_Sent, sent)
    try:
        reference = kept_start(jobs, sent, asked.name or form_strings.DROP_NAMELESS, visitor)
    except GspnError as refusal:
        return [answered(steering_props(card, chosen, jobs, held, error=str(refusal))), gr.skip()]
    return [answered(steering_props(card, chosen, jobs, reference)), reference]


def _text(held: Any) -> str:
    """Return the text that a form holds, "" for what is none."""
    return held[:200] if isinstance(held, str) else ""
