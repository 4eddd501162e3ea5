"""The model at the top of the page: how far its reading is, what is wrong with it, the choice of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gradio as gr

from gspn_core.errors import GspnError
from gspn_core.events import ModelProgress
from ui.guard.payload import Name, Payload, read
from ui.shared.gradio_private import sent_with
from ui.shared.strings import page_strings


class Choice(Protocol):
    """A model that may be chosen."""

    name: str
    title: str
    current: bool


class ModelPicker(Protocol):
    """What the page needs of the models that a server has.

    is_withheld: there are others, and only the host may change the model.
    """

    is_withheld: bool

    def choices(self) -> Sequence[Choice]:
        """Return the models that may be served, one alone where there is no choice."""

    def choose(self, name: str) -> None:
        """Ask for another model; raise GspnError where that cannot be."""


def masthead_props(
    machine: str | None, reading: ModelProgress | None, issue: str, *, changing: str = ""
) -> dict[str, Any]:
    """Return what changes at the top: what the model runs on, how far its reading is, what is wrong with it.

    changing: what the page waits for before it loads itself again, "" for nothing.
    """
    status = "" if machine is not None or issue else page_strings.loading(reading)
    return {
        "machine": machine or "",
        "status": changing or status,
        "issue": issue,
        "changing": bool(changing),
    }


def model_choices(picker: ModelPicker | None) -> list[dict[str, Any]]:
    """Return the models of the menu, none where there is nothing to choose.

    Where only the host chooses, the menu has the model in use and that sentence.
    """
    if picker is None:
        return []
    choices = [
        {"name": c.name, "label": page_strings.model_choice(c.title, c.current), "current": c.current}
        for c in picker.choices()
    ]
    if picker.is_withheld:
        choices.append({"name": "", "label": page_strings.MODEL_OF_HOST, "current": True})
    return choices if len(choices) > 1 else []


def wire_models(
    parts: dict[str, Any], picker: ModelPicker | None, masthead: Callable[[], dict[str, Any]]
) -> None:
    """Let the menu at the top ask for another model. masthead: returns what stands there otherwise."""

    def choose(event: gr.EventData) -> dict[str, Any]:
        return chosen(picker, sent_with(event), masthead())

    parts["masthead"].choose(
        choose, None, parts["masthead"], queue=False, show_progress="hidden", api_visibility="private"
    )


class _Chosen(Payload):
    """The model that was chosen."""

    name: Name = ""


def chosen(picker: ModelPicker | None, sent: Any, shown: dict[str, Any]) -> dict[str, Any]:
    """Return the masthead after another model was asked for: that it comes, or why it does not."""
    name = read(_Chosen, sent).name
    if picker is None:
        return shown
    try:
        picker.choose(name)
    except GspnError as error:
        # What is said of the model itself may come at any time and must not take this from the page.
        return {**shown, "refused": str(error)}
    title = next((choice.title for choice in picker.choices() if choice.name == name), name)
    return {
        **shown,
        "status": page_strings.changing_to(title),
        "issue": "",
        "refused": "",
        "changing": True,
    }
