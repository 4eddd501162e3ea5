"""The finished grid that the Lab shows until the visitor has one, and how it becomes the visitor's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gspn_core.planning.types import ModelCard
from gspn_core.studies.sample import GRID_FOLDER, cell_file
from gspn_core.studies.study import StudyView
from ui.form.drop import drop_props, held_values
from ui.form.form import values_of
from ui.guard.files import file_url
from ui.lab.grid import grid_props, typed
from ui.shared.strings import lab_strings


def sample_props(view: StudyView) -> dict[str, Any]:
    """Return the grid as lab.js shows it, with its axes as they are typed, the one across first."""
    shown = grid_props(view, lambda number, _: f"{file_url(str(cell_file(GRID_FOLDER, number)))}?v={view.id}")
    return {
        **shown,
        "is_sample": True,
        "state_word": lab_strings.SAMPLE,
        "notice": str(view.base["prompt"]),
        "axes": typed(view.axes),
    }


def adopted(view: StudyView, values: Sequence[Any], card: ModelCard) -> list[Any]:
    """Return the part above the form, which can undo it, and the form's values for the grid's settings."""
    said = drop_props(said=lab_strings.SAMPLE_TAKEN, before=held_values(values, card))
    return [said, *values_of(view.base, card)]
