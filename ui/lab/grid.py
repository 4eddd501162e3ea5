"""How a grid is said: its title, its axes and values, what its cells have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gspn_core.planning.types import ModelCard
from gspn_core.settings import CHOICES, RANGES, SEEDS, Settings
from gspn_core.studies.axis import Axis
from gspn_core.studies.axis_values import EMPTY, TEXTS, forms
from gspn_core.studies.study import Cell, StudyView
from ui.shared.strings import lab_strings, labels, units

# What a study's base shows of the form, next to its axes.
_BASE = ("prompt", "target", "mixer", "num_inference_steps", "seed")


def base_rows(base: Settings, axes: Sequence[Axis]) -> list[list[str]]:
    taken = {axis.name for axis in axes if axis.stage_px is None}
    values = base.to_dict()
    return [
        [labels.LABELS[name], lab_strings.DRAWN_ONCE if values[name] is None else shown_value(values[name])]
        for name in _BASE
        if name not in taken
    ]


def grids_of(studies: Sequence[StudyView]) -> dict[str, tuple[str, str]]:
    """Return the study that each run of these belongs to, as its id and title, by the run's id."""
    return {
        cell.job_id: (view.id, title(view.axes))
        for view in studies
        for cell in view.cells
        if cell.job_id is not None
    }


def facts(view: StudyView) -> list[list[str]]:
    """Return what all cells of a study have in common, as far as a sheet of it says so."""
    taken = {axis.name for axis in view.axes if axis.stage_px is None}
    return [
        [labels.LABELS[name], shown_value(view.base[name])]
        for name in _BASE
        if name not in taken and view.base.get(name) is not None
    ]


def title(axes: Sequence[Axis]) -> str:
    return " × ".join(map(axis_label, axes))


def axis_label(axis: Axis) -> str:
    label = labels.LABELS.get(axis.name, axis.name)
    return label if axis.stage_px is None else lab_strings.label_at(label, axis.stage_px)


def typed(axes: Sequence[Axis]) -> list[list[Any]]:
    """Return axes as axes.js sets them, the one across first: setting, text and the one stage."""
    return [
        [axis.name, _typed(axis), *([] if axis.stage_px is None else [axis.stage_px])]
        for axis in reversed(axes)
    ]


def curve(axes: Sequence[Axis]) -> dict[str, Any] | None:
    """Return the axis along which a curve means something, the one across before the other; None for none."""
    for axis in reversed(axes):
        if axis.name in RANGES and axis.name not in SEEDS and len(axis.values) > 1:
            return {"across": axis is axes[-1], "label": axis_label(axis), "numbers": list(axis.values)}
    return None


def hint(name: str, card: ModelCard) -> str:
    """Return how values of a setting are written."""
    if name in TEXTS:
        return lab_strings.HINT_TEXTS if name == "prompt" else lab_strings.HINT_EMPTY_TEXTS
    if name in CHOICES:
        return lab_strings.hint_choices(card.mixers if name == "mixer" else CHOICES[name])
    if name in lab_strings.HINTS:
        return lab_strings.HINTS[name]
    return lab_strings.hint_numbers(forms(name, card))


def shown_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if value == "":
        return lab_strings.EMPTY_TEXT
    return labels.CHOICES.get(value, value) if isinstance(value, str) else str(value)


def grid_props(
    view: StudyView,
    thumb_of: Callable[[int, Cell], str | None],
    *,
    own: bool = False,
    tells_adherence: bool = False,
) -> dict[str, Any]:
    """Return a study as lab.js shows it: the last axis across, the other down.

    Args:
        view: The study.
        thumb_of: Returns the address of a cell's small picture, from its number and the cell.
        own: Whether the visitor may change it.
        tells_adherence: Whether cells that are to come will have an adherence.
    """
    axes = view.axes
    columns = axes[-1].values if axes else ()
    return {
        "id": view.id,
        "own": own,
        "state": view.state,
        "state_word": lab_strings.STUDY_STATES[view.state],
        "title": title(axes),
        "notice": view.notice,
        "count": cells_done(view),
        "progress": sum(_share(cell) for cell in view.cells) / max(1, len(view.cells)),
        "columns": list(map(shown_value, columns)),
        "rows": list(map(shown_value, axes[0].values)) if len(axes) > 1 else [""],
        "across": axis_label(axes[-1]) if axes else "",
        "down": axis_label(axes[0]) if len(axes) > 1 else "",
        "curve": curve(axes),
        "facts": facts(view),
        "cells": [_cell(number, cell, thumb_of(number, cell)) for number, cell in enumerate(view.cells)],
        "tells_processor": any(cell.processor_seconds is not None for cell in view.cells),
        "tells_adherence": tells_adherence or any(cell.adherence is not None for cell in view.cells),
    }


def cells_done(view: StudyView) -> str:
    """Return how many cells of a study are done, in words."""
    return lab_strings.cells_done(sum(cell.state == "done" for cell in view.cells), len(view.cells))


def _cell(number: int, cell: Cell, thumb: str | None) -> dict[str, Any]:
    has_run = cell.job_id is not None and cell.stage is not None
    return {
        "number": number,
        "state": cell.state,
        "label": ", ".join(map(shown_value, cell.values)),
        "thumb": thumb,
        "job": cell.job_id,
        "ref": f"{cell.job_id}.{cell.stage}" if has_run and cell.state == "done" else None,
        "progress": cell.progress,
        "word": labels.said(cell.error) if cell.error else lab_strings.CELL_STATES[cell.state],
        "figures": {
            "seconds": [cell.seconds, units.seconds(cell.seconds)],
            "processor": [cell.processor_seconds, units.seconds(cell.processor_seconds)],
            "memory": [cell.peak_bytes, units.bytes_(cell.peak_bytes)],
            "consistency": [cell.consistency, lab_strings.decibels_of(cell.consistency)],
            "detail": [cell.detail, lab_strings.share_of(cell.detail)],
            "adherence": [cell.adherence, units.percent(cell.adherence)],
        },
    }


def _typed(axis: Axis) -> str:
    if axis.name in TEXTS:
        return "\n".join(value or EMPTY for value in axis.values)
    return ", ".join(f"{value:.12g}" if isinstance(value, float) else str(value) for value in axis.values)


def _share(cell: Cell) -> float:
    return {"waiting": 0.0, "running": cell.progress}.get(cell.state, 1.0)
