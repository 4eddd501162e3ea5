"""A finished grid that comes with the embedded model: its record, and a small picture of each cell."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from gspn_core.files import replacing
from gspn_core.runs.records import DAMAGED, read_json
from gspn_core.studies.study import StudyView

GRID_FOLDER = Path(__file__).parents[2] / "assets" / "grid"
FILE = "study.json"
_PX, _QUALITY = 320, 84
_OF_THE_SERVER = dict.fromkeys(
    ("job_id", "stage", "seconds", "saved_seconds", "processor_seconds", "peak_bytes")
)
_log = logging.getLogger(__name__)


def cell_file(folder: Path, number: int) -> Path:
    """Return where the picture of a cell is."""
    return folder / f"cell-{number}.webp"


def cell_files(folder: Path = GRID_FOLDER) -> list[Path]:
    """Return the pictures that are there."""
    return sorted(folder.glob("cell-*.webp"))


def write_sample(folder: Path, view: StudyView, pictures: Sequence[Image.Image]) -> None:
    """Write a finished study and its cells' pictures, which are made small.

    Args:
        folder: Where to.
        view: The study; its runs are left out, and times and memory, which are those of another machine.
        pictures: One for each cell, in their order.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        small = picture.convert("RGB")
        small.thumbnail((_PX, _PX), Image.Resampling.LANCZOS)
        with replacing(cell_file(folder, number)) as stream:
            small.save(stream, "WEBP", quality=_QUALITY, method=6)
    cells = tuple(replace(cell, **_OF_THE_SERVER) for cell in view.cells)
    text = json.dumps(replace(view, cells=cells, version=0).to_dict(), indent=1)
    with replacing(folder / FILE) as stream:
        stream.write(f"{text}\n".encode())


def read_sample(folder: Path = GRID_FOLDER) -> StudyView | None:
    """Return the study in a folder, None where it is not whole: the page opens without it."""
    try:
        view = StudyView.from_dict(read_json(folder / FILE))
    except (OSError, *DAMAGED) as error:
        _log.warning("The sample grid in %s cannot be read (%s).", folder, error)
        return None
    whole = all(cell_file(folder, number).is_file() for number in range(len(view.cells)))
    return view if whole and all(cell.state == "done" for cell in view.cells) else None
