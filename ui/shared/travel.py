"""The sliders whose equal parts change a picture by like amounts; drawn by travel.js."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gspn_core.settings import RANGES
from ui.shared.part import html_part
from ui.shared.strings import labels


def build_travel() -> gr.HTML:
    """Draw the part into the open gradio block; it draws into the sliders' own blocks."""
    return html_part("shared", "travel", {}, sliders=travel_props())


def travel_props() -> dict[str, dict[str, Any]]:
    """Return the values at equal parts of a slider's travel, its step and its label, by the slider's name.

    Sliders whose travel is their range are left to gradio.
    """
    return {
        name: {"stops": list(bounds.travel), "step": bounds.step, "label": labels.LABELS[name]}
        for name, bounds in RANGES.items()
        if bounds.stops
    }
