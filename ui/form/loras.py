"""The LoRA files of a model: a chip for each, which puts it into the field with its weight, or the reason."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gspn_core.lora.text import MAX_LORA_WEIGHT, MAX_LORAS
from gspn_core.planning.types import ModelCard
from ui.shared.part import html_part
from ui.shared.strings import form_strings

_STEP = 0.05


def build_loras(card: ModelCard) -> gr.HTML:
    """Draw the part into the open gradio block."""
    return html_part(
        "form", "loras", lora_props(card), most=MAX_LORAS, most_weight=MAX_LORA_WEIGHT, weight_step=_STEP
    )


def wire_loras(part: gr.HTML, field: Any, card: ModelCard) -> None:
    """Let the part look for files again, and the field show once there are some."""

    def refresh() -> list[Any]:
        return [lora_props(card), gr.update(visible=has_loras(card))]

    part.refresh(refresh, None, [part, field], queue=False, show_progress="hidden", api_visibility="private")


def has_loras(card: ModelCard) -> bool:
    """Return whether there are files that can be used with the model."""
    return card.loras is not None and any(not file.issue for file in card.loras.all())


def lora_props(card: ModelCard) -> dict[str, Any]:
    """Return what the part shows: the names that can be chosen, and why others cannot."""
    files = () if card.loras is None else card.loras.all()
    usable = [file.name for file in files if not file.issue]
    unusable = [f"{file.name} {file.issue}" for file in files if file.issue]
    return {
        "names": usable,
        "note": form_strings.loras_here(len(usable), len(unusable)),
        "unusable": unusable,
    }
