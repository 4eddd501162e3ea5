"""The files that may be served, known by their folder and their name; every other file is not."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

FILES = "/gradio_api/file="
_ID = r"[A-Za-z0-9_-]{16,64}"
_STAGE = r"stage-[0-9]{1,3}-[0-9]{1,5}x[0-9]{1,5}"
# Pictures, their tiles and small forms, comparisons, starting pictures, archives: never a record.
_OF_RUNS = re.compile(
    rf"{_ID}/(?:thumb\.jpg|{_STAGE}\.(?:jpg|png)|{_STAGE}\.tiles/[0-9]{{1,2}}/[0-9]{{1,4}}_[0-9]{{1,4}}\.jpg"
    r"|pair-[0-9a-f]{1,64}\.png)"
    rf"|starts/[0-9]{{2,4}}x[0-9]{{2,4}}-[0-9a-f]{{64}}\.jpg|studies/{_ID}/study\.zip"
)
_OF_THE_PAGE = re.compile(r"(?:[A-Za-z0-9_-]+/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*\.(?:js|css|svg|webp|png|jpg)")


@dataclass(frozen=True, kw_only=True)
class ServedFiles:
    """Which files a server hands out. runs: the jobs' folder; assets: what the page is made of."""

    runs: Path
    assets: Path

    def find(self, route: str) -> Path | None:
        """Return the file that a route names, None for one that is not served, however it is spelled."""
        asked = route.removeprefix(FILES)
        if asked == route or not _is_plain(asked):
            return None
        path = Path(os.path.realpath(asked))
        for folder, names in ((self.runs, _OF_RUNS), (self.assets, _OF_THE_PAGE)):
            root = os.path.realpath(folder)
            if path.is_relative_to(root) and names.fullmatch(path.relative_to(root).as_posix()):
                return path
        return None


def _is_plain(asked: str) -> bool:
    """Tell whether an address is written in the one way in which the page writes it."""
    if "\\" in asked or not asked.isprintable() or asked.startswith("//"):
        return False
    return Path(asked).is_absolute() and posixpath.normpath(asked) == asked
