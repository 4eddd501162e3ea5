"""The record of a study on disk: its view, its owner and its place among the others."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from gspn_core.errors import GspnError
from gspn_core.files import make_folder, replacing, write_failure
from gspn_core.runs.records import MAX_INTEGER, read_json
from gspn_core.studies.study import Cell, StudyView

FORMAT = 1
FILE = "study.json"


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A stored study. order: increases with every study, independent of the clock; -1 for none."""

    view: StudyView
    owner: str
    order: int = -1


def write_study(folder: Path, record: StudyRecord) -> None:
    """Write a study's record into its folder; raise GspnError on failure."""
    values = {
        "format": FORMAT,
        "order": record.order,
        "owner": record.owner,
        "view": record.view.to_dict(),
    }
    try:
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        with replacing(folder / FILE) as stream:
            stream.write(json.dumps(values).encode())
    except OSError as error:
        raise GspnError(write_failure("The record of this grid", error)) from error


def read_study(folder: Path) -> StudyRecord:
    """Read the record in a study's folder; one that ran when its server ended is stopped.

    Raises OSError if there is none, and one of `gspn_core.runs.records.DAMAGED` if it is damaged.
    """
    values = read_json(folder / FILE)
    # The folder's name is the study's id: a copy under another name is another study.
    view = replace(StudyView.from_dict(values["view"]), id=folder.name)
    owner, order = str(values["owner"]), values.get("order")
    if view.state == "running":
        view = view.changed(state="stopped", cells=waiting_again(view))
    known = type(order) is int and 0 <= order < MAX_INTEGER
    return StudyRecord(view=view, owner=owner, order=order if known else -1)


def waiting_again(view: StudyView) -> tuple[Cell, ...]:
    """Return a study's cells with running ones waiting again."""
    return tuple(
        replace(cell, state="waiting", progress=0.0) if cell.state == "running" else cell
        for cell in view.cells
    )
