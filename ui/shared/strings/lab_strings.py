"""The Lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from gspn_core.studies.study import Cost
from ui.shared.strings import units

SCREEN: Mapping[str, str] = MappingProxyType(
    {
        "lab_title": "Lab",
        "lab_across": "X axis",
        "lab_down": "Y axis",
        "lab_setting": "Setting",
        "lab_stage": "Stage",
        "lab_all_stages": "All stages",
        "lab_values": "Values",
        "lab_add_axis": "Add Y axis",
        "lab_remove_axis": "Remove this axis",
        "lab_begin": "Run grid",
        "lab_past": "Your grids",
        "lab_forget": "Remove this grid; its runs are kept",
        "lab_metric": "Show",
        "lab_seconds": "Time",
        "lab_processor": "Processor time",
        "lab_memory": "Peak memory",
        "lab_consistency": "Similarity to base",
        "lab_detail": "Added detail",
        "lab_adherence": "Prompt match",
        "lab_compare": "Compare",
        "lab_stop": "Stop",
        "lab_resume": "Resume",
        "lab_export": "Export",
        "lab_sheet": "Contact sheet",
        "lab_sheet_title": "The grid with its labels, as one PNG",
        "lab_presets": "Grids to begin with",
        "lab_open_file": "Open grid file",
        "lab_open_file_title": "study.json of an exported grid: its settings go into the form, its axes here",
        "lab_not_grid": "This file is not a grid; choose study.json of an exported one.",
        "lab_open": "Show in Studio",
        "lab_skip": "Skip",
        "lab_retry": "Try again",
        "lab_cell_more": "More",
        "lab_base": "Base settings (from Studio)",
        "lab_enlarge": "Enlarge",
        "lab_cell_title": "Select to compare; double-click or Enter enlarges",
        "lab_gone": "its run was removed",
        "lab_most": "Four cells are selected, the maximum. Press one again to deselect it.",
        "lab_before": "Previous cell",
        "lab_after": "Next cell",
        "lab_adopt": "Make it yours",
        "lab_adopt_title": "Put this grid's settings into the form, to change them and run them here",
        "lab_empty_title": "See one or two settings across their values",
        "lab_empty_text": "The other settings are those of the form in Studio. Each cell is a run; "
        "stages that cells share are made once.",
    }
)

TIME_UNKNOWN = "the time is known once these sizes have run"

HINT_TEXTS = "One text per line."

HINT_EMPTY_TEXTS = "One text per line; an empty line is the empty text."

EMPTY_TEXT = "(empty)"

HINTS: Mapping[str, str] = MappingProxyType(
    {
        "seed": "7, 11 · or 4 from 7",
        "variation_seed": "7, 11 · or 4 from 7",
        "target": "Pixels, such as 512, 1024",
        "aspect": "1:1, 3:2, 16:9",
    }
)

# Grids that are set up at a press: settings with the texts of their values, the axis across first.
PRESETS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Token mixing × seed", (("mixer", "all"), ("seed", "3 from 1"))),
    ("CFG scale 1 to 5", (("guidance_scale", "1-5"),)),
    ("Upscale denoise × seed", (("upscale_strength", "0.2-0.8 [3]"), ("seed", "3 from 1"))),
    ("Samplers", (("scheduler", "all"),)),
)

# A grid that comes with the page, in place of its state.
SAMPLE = "Sample"

SAMPLE_TAKEN = "Settings of the sample grid"

FILE_TAKEN = "Settings of the grid file"

ARCHIVE = "The archive of this grid"

NO_VALUES = "Enter values for each axis; time and cost are then shown here."

DRAWN_ONCE = "one random seed for all cells"

STUDY_STATES: Mapping[str, str] = MappingProxyType(
    {"running": "Running", "stopped": "Stopped", "done": "Done"}
)

CELL_STATES: Mapping[str, str] = MappingProxyType(
    {"waiting": "waiting", "running": "running", "done": "done", "failed": "failed", "skipped": "skipped"}
)


def values_counted(count: int) -> str:
    """Return how many values an axis has."""
    return "1 value" if count == 1 else f"{count} values"


def cells_done(done: int, count: int) -> str:
    """Return how many cells of a study are done."""
    return f"{done} of {count} cells"


def not_offered(label: str) -> str:
    """Return why a grid of another model's setting is refused."""
    return f"This model has no setting {label}; choose the model that the grid was made with."


def label_at(label: str, stage_px: int) -> str:
    """Return what a setting of one stage alone is called."""
    return f"{label} at {stage_px} px"


def study_cost(cost: Cost) -> str:
    """Return what a study will take, before it runs."""
    cells = "1 cell" if cost.cells == 1 else f"{cost.cells} cells"
    if cost.pictures < cost.cells:
        cells += ", only 1 image" if cost.pictures == 1 else f", only {cost.pictures} different images"
    stages = "1 stage to run" if cost.stages_to_run == 1 else f"{cost.stages_to_run} stages to run"
    shared = f", {cost.stages_shared} shared or cached" if cost.stages_shared else ""
    calls = "" if cost.calls is None else f"; {cost.calls:g} UNet calls"
    time = TIME_UNKNOWN if cost.seconds is None else f"about {units.seconds(cost.seconds)}"
    return f"{cells}: {stages}{shared}{calls}; {time}."


def hint_choices(names: Sequence[str]) -> str:
    """Return how values of a setting that is one of a few are written."""
    return f"all, or some of {', '.join(names)}"


def hint_numbers(forms: str) -> str:
    """Return how values of a setting that is a number are written, from examples of it."""
    return f"{forms}; [5] after a range takes five values of it"


def decibels_of(value: float | None) -> str:
    """Return a figure in decibels, "—" for none."""
    return units.UNKNOWN if value is None else f"{value:.1f} dB"


def share_of(value: float | None) -> str:
    """Return a share in percent, "—" for none."""
    return units.UNKNOWN if value is None else f"{value * 100:.2f} %"
