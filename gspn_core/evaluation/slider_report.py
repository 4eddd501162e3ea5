"""The effect of the sliders, as Markdown and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from gspn_core.evaluation.pairs import MOST_DB
from gspn_core.evaluation.report import bars_table, table
from gspn_core.evaluation.sliders import MOST_ENDS_DB, MOST_NEIGHBOURS_DB, SliderRow

_COLUMNS = (
    "slider",
    "values",
    "neighbours, dB",
    "least, dB",
    "greatest, dB",
    "ends, dB",
    "finest octave, levels",
    "consistency, dB",
    "adherence, %",
)


def sliders_markdown(rows: Sequence[SliderRow], notes: Sequence[str], *, px: int) -> str:
    """Return the table of sliders, their bars and the notes."""
    lines = [
        [
            row.name,
            " · ".join(f"{value:g}" for value in row.values),
            f"{fmean(row.neighbours):.1f}",
            f"{row.least:.1f}",
            f"{max(row.neighbours):.1f}",
            f"{row.ends:.1f}",
            _series(row.amplitude, 2),
            _series(row.consistency, 1),
            _series([100 * share for share in row.adherence], 0),
        ]
        for row in rows
    ]
    parts = [
        f"# The sliders at {px} px, measured",
        table(_COLUMNS, lines),
        "## Bars",
        bars_table([bar for row in rows for bar in row.bars]),
    ]
    return "\n\n".join((*parts, *(f"- {note}" for note in notes))) + "\n"


def sliders_json(rows: Sequence[SliderRow], setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as plain data."""
    return {
        "setting": dict(setting),
        "sliders": [
            {**asdict(row), "bars": [{**asdict(bar), "holds": bar.holds} for bar in row.bars]} for row in rows
        ],
    }


def sliders_notes(prompts: int, mixer: str, px: int) -> tuple[str, ...]:
    """Return the notes that explain the figures."""
    return (
        f"{prompts} held-out captions, each with its own seed, {mixer}, to {px} px. One slider at a time "
        "goes from end to end of its range at equal travel, all else stays at its default; the base is "
        "the same.",
        "PSNR between pictures of two values, means over captions: of all neighbouring values, the lowest of "
        "any caption, the pair that differs least, and the first against the last value. Equal pictures "
        f"count {MOST_DB:g} dB. A visitor sees a slider whose ends are {MOST_ENDS_DB:g} dB apart or less and "
        f"whose neighbours are all {MOST_NEIGHBOURS_DB:g} dB apart or less.",
        "The last three columns go along the values: root mean square of the luma between half and the "
        "whole of Nyquist in levels of 255, PSNR of the picture shrunk to its base, and what the classifier "
        "sees of what the captions say.",
    )


def _series(values: Sequence[float], digits: int) -> str:
    return " · ".join(f"{value:.{digits}f}" for value in values)
