"""History."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ui.shared.strings import studio_strings, units

SCREEN: Mapping[str, str] = MappingProxyType(
    {
        "history": "Your runs",
        "history_search": "Search prompts and notes",
        "history_starred": "Favorites",
        "history_more": "Show more",
        "history_empty": "No runs yet",
        "history_empty_text": "Every run that you start in this browser is listed here with its image.",
        "history_none": "Nothing found",
        "history_start": "Go to Studio",
        "history_open": "Open: {prompt}",
        "history_blank": "no image",
        "history_note": "Add a note",
        "history_note_of": "Note on: {prompt}",
        "history_star": "Favorite: {prompt}",
        "history_pick": "Select to compare",
        "history_pick_of": "Select to compare: {prompt}",
        "history_picked": "{count} selected",
        "history_too_many": "{count} selected, at most 4",
        "history_clear": "Clear",
        "history_compare": "Compare",
        "history_resume": "Resume",
        "history_init_image": "Use as init image",
        "history_delete": "Delete",
        "history_sure": "Delete permanently?",
        "history_keep": "Keep",
        "history_grid": "Grid",
        "history_grid_open": "Show in Lab",
        "history_batch": "Batch",
        "history_batch_open": "Show in Studio",
    }
)

RUN_STATES: Mapping[str, str] = MappingProxyType(
    {**studio_strings.HEADLINES, "queued": studio_strings.QUEUED, "running": studio_strings.RUNNING}
)


def reached(height: int, width: int, planned_height: int, planned_width: int) -> str:
    """Return the size of a run's largest picture, and of how much where it ended early."""
    planned = units.size(planned_height, planned_width)
    whole = (height, width) == (planned_height, planned_width)
    return planned if whole else f"{units.size(height, width)} of {planned}"


def seed(value: int | None) -> str:
    """Return which seed a run had, "" where its record does not say."""
    return "" if value is None else f"seed {value}"


def batch(pictures: int, first: int | None, last: int | None) -> str:
    """Return what the pictures of a batch are called: of several seeds, or variations of one."""
    if first == last:
        return f"{pictures} variations of seed {first}" if pictures > 1 else f"A variation of seed {first}"
    return f"{pictures} pictures, seeds {first} to {last}"


def runs_counted(count: int, *, more: bool) -> str:
    """Return how many runs a list shows."""
    if more:
        return f"the newest {count}"
    return "1 run" if count == 1 else f"{count} runs"


def usage(own: int, used: int, quota: int) -> str:
    """Return the disk that a visitor's runs take, and everyone's of what there may be, in bytes."""
    return f"Yours {units.bytes_(own)} · server {units.bytes_(used)} of {units.bytes_(quota)}"
