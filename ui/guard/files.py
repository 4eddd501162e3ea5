"""The files that may be served, known by their folder and their name; every other file is not."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gspn_core.studies.sample import GRID_FOLDER

FILES = "/gradio_api/file="
_ID = r"[A-Za-z0-9_-]{16,64}"
_STAGE = r"stage-[0-9]{1,3}-[0-9]{1,5}x[0-9]{1,5}"
# Pictures, their tiles and small forms, downloads, comparisons, starting pictures, archives: never a record.
_OF_RUNS = re.compile(
    rf"{_ID}/(?:thumb\.jpg|film\.webp|run\.zip|{_STAGE}\.(?:jpg|png|webp|jpeg)|{_STAGE}\.tiles/[0-9]{{1,2}}/[0-9]{{1,4}}_[0-9]{{1,4}}\.jpg"
    r"|pair-[0-9a-f]{1,64}\.png)"
    rf"|starts/[0-9]{{2,4}}x[0-9]{{2,4}}-[0-9a-f]{{64}}\.jpg|studies/{_ID}/study\.zip"
)
PAGE = Path(__file__).parents[1]
PLACES = ("shared", "studio", "form", "compare", "lab", "history")
SERVED_SUFFIXES = (".js", ".css", ".svg", ".webp", ".woff2")
# Scripts, style sheets, pictures and the font of a place: never its Python, markup or data.
_OF_THE_PAGE = re.compile(
    rf"(?:{'|'.join(PLACES)})/(?:[A-Za-z0-9_-]+/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*"
    rf"(?:{'|'.join(map(re.escape, SERVED_SUFFIXES))})"
)


_OF_THE_GRID = re.compile(r"cell-[0-9]{1,2}\.webp")


@dataclass(frozen=True, kw_only=True)
class ServedFiles:
    """Which files a server hands out.

    Args:
        runs: The jobs' folder.
        page: The folder of this package.
        grid: The folder of the grid that the Lab opens with.
    """

    runs: Path
    page: Path
    grid: Path = GRID_FOLDER

    def find(self, route: str) -> Path | None:
        """Return the file that a route names, None for one that is not served, however it is spelled."""
        asked = route.removeprefix(FILES)
        if asked == route or not _is_plain(asked):
            return None
        path = Path(os.path.realpath(asked))
        for folder, names in _kinds(self):
            root = os.path.realpath(folder)
            if path.is_relative_to(root) and names.fullmatch(path.relative_to(root).as_posix()):
                return path
        return None


def _kinds(files: ServedFiles) -> tuple[tuple[Path, re.Pattern[str]], ...]:
    return ((files.runs, _OF_RUNS), (files.page, _OF_THE_PAGE), (files.grid, _OF_THE_GRID))


def file_url(path: str | None) -> str | None:
    """Return the address of a served file, relative to the page so that it holds under any root path."""
    return None if path is None else f"gradio_api/file={quote(Path(path).as_posix(), safe='/')}"


def _is_plain(asked: str) -> bool:
    """Tell whether an address is written in the one way in which the page writes it."""
    if "\\" in asked or not asked.isprintable() or asked.startswith("//"):
        return False
    return Path(asked).is_absolute() and posixpath.normpath(asked) == asked
