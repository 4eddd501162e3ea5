"""A grid from a file: its settings go into the form and its axes into the Lab, where it can run again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import gradio as gr
from pydantic import BeforeValidator

from gspn_core.errors import BadSetting
from gspn_core.planning.types import ModelCard
from gspn_core.settings import FIELD_NAMES
from gspn_core.studies.grid_file import GridAsked, grid_of
from ui.form.drop import drop_props, held_values
from ui.form.form import is_offered, values_of
from ui.guard.payload import Items, Payload, as_mapping, read
from ui.lab.grid import typed
from ui.shared.strings import lab_strings, labels


class GridOpened(Payload):
    """What a grid's file says of its settings and its axes."""

    base: Annotated[Mapping[str, Any], BeforeValidator(as_mapping)] = {}
    axes: Annotated[list[Any], Items] = []


def opened(sent: Any, values: Sequence[Any], card: ModelCard) -> list[Any]:
    """Return the Lab's answer, the part above the form, which can undo it, and the form's values.

    Args:
        sent: What was read from the file.
        values: What the form holds.
        card: The model's.
    """
    try:
        grid = _grid(sent, card)
    except BadSetting as refusal:
        said = {"kind": "said", "said": labels.said(str(refusal)), "turn": time.monotonic_ns()}
        return [said, gr.skip(), *(gr.skip() for _ in FIELD_NAMES)]
    shown = drop_props(said=lab_strings.FILE_TAKEN, before=held_values(values, card))
    answer = {"kind": "adopted", "axes": typed(grid.axes), "turn": time.monotonic_ns()}
    return [answer, shown, *values_of(grid.base.to_dict(), card)]


def _grid(sent: Any, card: ModelCard) -> GridAsked:
    asked = read(GridOpened, sent)
    grid = grid_of({"base": asked.base, "axes": asked.axes}, card)
    for axis in grid.axes:
        if not is_offered(axis.name, card):
            raise BadSetting("axis", lab_strings.not_offered(labels.LABELS[axis.name]))
    return grid
