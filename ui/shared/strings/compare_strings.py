"""Compare."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gspn_core.runs.run import StageView
from ui.shared.strings import studio_strings, units

NOISE = "noise"

SCREEN: Mapping[str, str] = MappingProxyType(
    {
        "compare_title": "Compare",
        "compare_modes": "How the images are shown",
        "compare_slider": "Slider",
        "compare_slider_title": "One over the other, divided by a line (S)",
        "compare_side": "Side by side",
        "compare_side_title": "Next to each other at the same place (B)",
        "compare_flip": "Flip",
        "compare_flip_title": "One at a time; hold Space for the next (H)",
        "compare_heat": "Difference",
        "compare_heat_title": "Where A and B differ (D)",
        "compare_swap": "Swap",
        "compare_swap_title": "Swap A and B (X)",
        "compare_link": "Copy link",
        "compare_linked": "Copied",
        "compare_link_failed": "Copy it from the address line",
        "compare_handle": "The line between A and B",
        "compare_add": "Add",
        "compare_add_title": "Add a stage",
        "compare_add_run": "Stages of the current run",
        "compare_add_history": "Pick from History",
        "compare_paste": "Paste a share link",
        "compare_remove": "Remove",
        "compare_sample": "A sample: one example, its first stage and its last.",
        "compare_empty_title": "Compare images",
        "compare_empty_text": "Pick 2–4 images. Zoom and pan stay in sync.",
        "compare_empty_run": "Last two stages",
        "compare_one": "Add a second image to compare.",
        "compare_measuring": "measuring …",
        "compare_psnr": "PSNR",
        "compare_ssim": "SSIM",
        "compare_differ": "What differs",
        "compare_nothing": "The same settings.",
        "compare_same": "Shared settings",
        "compare_setting": "Setting",
        "compare_pictures": "The compared images",
        "compare_open": "Show in Studio",
        "blind": "Blind A/B",
        "blind_title": "Hide what the two are until you voted for one",
        "blind_question": "Which one is better?",
        "blind_a": "A is better",
        "blind_b": "B is better",
        "blind_equal": "No difference",
        "blind_image": "Image {letter}",
        "blind_voted": "Your vote: {vote}",
        "blind_again": "Vote again",
        "blind_tally": "Votes ({count})",
        "blind_csv": "CSV",
        "blind_json": "JSON",
        "blind_clear": "Clear",
        "blind_clear_sure": "Clear all votes?",
    }
)

ROWS: Mapping[str, str] = MappingProxyType({"size": "Size", "seconds": "Time", "memory": "Peak memory"})

TWO = "This needs two images; add a second one."

HEAT_ALT = "Map of where A and B differ: the lighter, the more"


def start_shown(reference: str) -> str:
    """Return what a starting picture is called: its size and the first digits of its hash."""
    size_, _, seal = reference.partition("-")
    return f"{size_.replace('x', ' × ')} · {seal[:8]}" if seal else NOISE


def no_stage(reference: str) -> str:
    """Return the sentence for a stage that cannot be compared."""
    return f"There is no finished image {reference[:70]!r}; paste a share link, or pick one from History."


def stage_seconds(stage: StageView) -> str:
    """Return how long a stage took, and when it was reused, how long it had taken."""
    if stage.reused:
        return f"{units.seconds(stage.saved_seconds)}, {studio_strings.REUSED}"
    return units.seconds(stage.seconds)


def decibels(value: float | None) -> str:
    """Return a ratio in decibels, None for pictures without any difference."""
    return "equal" if value is None else f"{value:.1f} dB"


def compared_at(height: int, width: int) -> str:
    """Return at which size two pictures were measured."""
    return f"A against B at {units.size(height, width)}"


def heat_scale(top: float) -> str:
    """Return what the light end of a map of differences stands for."""
    return f"0 – {top:.0f} of 255"
