"""The figures as Markdown, JSON and a contact sheet."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from gspn_core.evaluation.figures import STRUCTURE, Bar, Figures, Row
from gspn_core.world.scene import ATTRIBUTES

_SHEET_GAP, _SHEET_HEAD, _SHEET_LABELS = 8, 26, 24
_SHEET_GROUND, _SHEET_INK, _SHEET_MUTED = (250, 250, 249), (28, 28, 30), (110, 110, 115)
_DIGITS = {"consistency": 1, "detail": 4, "slope": 2, "drift": 2, "repetition": 3, "seams": 3}
_STRUCTURE_NAMES = {
    "consistency": "consistency with the base, dB",
    "detail": "energy beyond the base",
    "slope": "spectrum's slope",
    "drift": "colour drift, ΔE",
    "repetition": "repetition",
    "seams": "seams",
}
_VARIATION_COLUMNS = {
    "frechet": ("Fréchet distance of crops", 1),
    **{
        name: (_STRUCTURE_NAMES[name], _DIGITS[name])
        for name in ("detail", "consistency", "drift", "repetition")
    },
    "adherence": ("adherence, %", 1, 100),
}


def markdown(figures: Figures, judged: Sequence[Bar], notes: Sequence[str]) -> str:
    """Return the bars, then the tables of all figures, then the notes."""
    parts = ["# The embedded model, measured", "## Bars", bars_table(judged)]
    parts += ["## Adherence to prompts, % of what they name", _adherence(figures)]
    parts += [
        "## Fréchet distance from renders of other scenes, extrapolated",
        _by_size(figures, "frechet", 3),
    ]
    parts += ["## The same, of the sets as they are", _by_size(figures, "frechet as it is", 3)]
    for px in sorted({px for name, _, px in figures if name == "consistency"}):
        parts += [f"## Structure at {px} px, means over pictures", _structure(figures, px)]
    parts += ["## Autoencoder, PSNR of reconstructed renders, dB", _by_size(figures, "psnr", 2)]
    return "\n\n".join((*parts, *(f"- {note}" for note in notes))) + "\n"


def variations_markdown(rows: Sequence[Row], notes: Sequence[str], *, px: int) -> str:
    """Return a line per setting, its guidance pairs and figures at `px`, then the notes."""
    columns = ["setting", f"guidance pairs at {px} px", *(name for name, *_ in _VARIATION_COLUMNS.values())]
    lines = [
        [row.title, "–" if row.pairs is None else f"{row.pairs:g}"]
        + [_number(row.figures[name], *form) for name, (_, *form) in _VARIATION_COLUMNS.items()]
        for row in rows
    ]
    parts = ["# Settings of the cascade, measured", table(columns, lines), *(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def to_json(figures: Figures, judged: Sequence[Bar], setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures as plain data; infinite ones become None."""
    rows = [
        {"figure": name, "source": source, "px": px, "value": value if math.isfinite(value) else None}
        for (name, source, px), value in figures.items()
    ]
    return {
        "setting": dict(setting),
        "bars": [{**asdict(bar), "holds": bar.holds} for bar in judged],
        "figures": rows,
    }


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Image.Image]]], labels: Sequence[str], side: int
) -> Image.Image:
    """Return one picture: a row per prompt with its text above, a column per label, squares of `side` px."""
    width = _SHEET_GAP + len(labels) * (side + _SHEET_GAP)
    height = _SHEET_LABELS + len(rows) * (_SHEET_HEAD + side + _SHEET_GAP)
    sheet = Image.new("RGB", (width, height), _SHEET_GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, label in enumerate(labels):
        draw.text((_SHEET_GAP + place * (side + _SHEET_GAP), 5), label, _SHEET_MUTED, font)
    top = _SHEET_LABELS
    for text, pictures in rows:
        draw.text(
            (_SHEET_GAP, top + 5), textwrap.shorten(text, width // 7, placeholder=" …"), _SHEET_INK, font
        )
        top += _SHEET_HEAD
        for place, picture in enumerate(pictures):
            shown = picture if picture.size == (side, side) else picture.resize((side, side))
            sheet.paste(shown, (_SHEET_GAP + place * (side + _SHEET_GAP), top))
        top += side + _SHEET_GAP
    return sheet


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, the first column aligned left and the others right."""
    ruler = ("---", *("---:",) * (len(columns) - 1))
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ruler, *rows))


def bars_table(judged: Sequence[Bar]) -> str:
    """Return a line per bar: its figure, its limit and whether it holds."""

    def value(bar: Bar) -> str:
        return "not measured" if bar.value is None else f"{bar.value:.2f}{bar.unit}"

    verdict = {True: "holds", False: "**fails**", None: ""}
    rows = [
        (bar.name, value(bar), f"{bar.sense} {bar.limit:g}{bar.unit}", verdict[bar.holds]) for bar in judged
    ]
    return table(("figure", "value", "bar", ""), rows)


def _adherence(figures: Figures) -> str:
    columns = [*dict.fromkeys((source, px) for name, source, px in figures if name == "adherence")]
    names = ["adherence", *(f"adherence {name}" for name in ATTRIBUTES)]
    rows = [
        [name.removeprefix("adherence ") if " " in name else "mean"]
        + [_number(figures.get((name, source, px)), 1, 100) for source, px in columns]
        for name in names
    ]
    return table(["", *(f"{source} {px}" for source, px in columns)], rows)


def _by_size(figures: Figures, figure: str, digits: int) -> str:
    found = [(source, px) for name, source, px in figures if name == figure]
    sources, sizes = dict.fromkeys(source for source, _ in found), sorted({px for _, px in found})
    rows = [
        [source, *(_number(figures.get((figure, source, px)), digits) for px in sizes)] for source in sources
    ]
    return table(["", *(f"{px} px" for px in sizes)], rows)


def _structure(figures: Figures, px: int) -> str:
    sources = dict.fromkeys(source for name, source, side in figures if name == "consistency" and side == px)
    rows = [
        [
            _STRUCTURE_NAMES[name],
            *(_number(figures.get((name, source, px)), _DIGITS[name]) for source in sources),
        ]
        for name in STRUCTURE
    ]
    return table(["", *sources], rows)


def _number(value: float | None, digits: int, factor: float = 1.0) -> str:
    return "–" if value is None else f"{value * factor:.{digits}f}"
