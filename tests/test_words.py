"""The words of the field, everywhere: the private dialect of the first versions stays out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What is not written any more, and what to write instead. An underscore ends a word, so names count too.
BANNED = {
    "told": "what it is: on_progress, key, payload, answer",
    "anew": "again",
    "beside": "with, next to",
    "nobody": "no one",
    "noughts?": "zeros",
    "by turns": "alternately",
    "lie[sd]? in": "is in",
    "(?-i:is no)(?! longer| one| more| less)": "is not a valid",
    "troubles?": "issue, fit issue",
    "foretold": "predicted",
    "climb(?:s|ed|ing)?": "upscale, init image",
    "companions?": "extras",
    "shelf": "model picker",
    "lent|lends?": "ZeroGPU",
    "complaints?": "generator loss",
    "calibrated|paces?": "StageTiming",
}
PATTERN = re.compile(
    "|".join(f"(?P<w{i}>(?<![A-Za-z])(?:{word})(?![A-Za-z]))" for i, word in enumerate(BANNED)), re.IGNORECASE
)
# Names that are kept since links, records, commands or the words of others hold them.
KEPT = re.compile(
    r"(?<=[Tt]here )is no|evaluat\w+ climb|[\"`]climb[\"`]|climb\.(?:webp|md|json|png)|paces\.json"
    r"|[\"|]beside[\"|]|beside a calm lake"
)
SUFFIXES = {".py", ".js", ".html", ".css", ".md"}


def room_of(path: Path) -> str:
    """Return the room that a file belongs to: a package of the core, `ui`, a folder of tests or a file."""
    parts = path.relative_to(ROOT).parts
    if parts[0] in ("gspn_core", "tests"):
        return "/".join(parts[: 3 if parts[:2] == ("tests", "gspn_core") else 2])
    return parts[0]


def files() -> list[Path]:
    """Return every file of ours that has words."""
    found = [ROOT / "README.md", ROOT / "Spaces.md", ROOT / "app.py"]
    for folder in ("gspn_core", "ui", "tests"):
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return [path for path in sorted(found) if "vendor" not in path.parts and path != Path(__file__)]


ROOMS = sorted({room_of(path) for path in files()})


def dialect_in(text: str) -> list[tuple[str, str]]:
    """Return the words of a text that are not the field's, each with what to write instead."""
    instead = list(BANNED.values())
    found = PATTERN.finditer(KEPT.sub("", text))
    return [(match[0], instead[int(match.lastgroup[1:])]) for match in found]


def test_the_dialect_is_found_in_sentences_and_in_names():
    assert dialect_in("What it told; _told = 1; told_once") == [("told", BANNED["told"])] * 3
    assert [word for word, _ in dialect_in("'x' is no number, and it lies in a folder.")] == [
        "is no",
        "lies in",
    ]
    assert dialect_in("There is no run; it is no longer kept; besides, untold.") == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_written_in_the_words_of_the_field(room):
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {word!r}; write {instead}"
        for path in files()
        if room_of(path) == room
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for word, instead in dialect_in(line)
    ]
    assert not wrong, "\n".join(wrong)
