"""How a grid is said: its title, its axes and values, what its cells have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gspn_core.planning.types import ModelCard
from gspn_core.settings import CHOICES, RANGES, Settings
from gspn_core.studies.axis import Axis
from gspn_core.studies.axis_values import TEXTS, forms
from gspn_core.studies.study import StudyView
from ui.shared.strings import lab_strings, labels

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


def curve(axes: Sequence[Axis]) -> dict[str, Any] | None:
    """Return the axis along which a curve means something, the one across before the other; None for none."""
    for axis in reversed(axes):
        if axis.name in RANGES and axis.name != "seed" and len(axis.values) > 1:
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
