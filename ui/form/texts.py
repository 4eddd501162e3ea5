"""How much of the prompts the model reads, and what of them it does not understand, under the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from gspn_core.prompts import TextLength
from ui.shared.part import html_part
from ui.shared.strings import form_strings


def build_texts() -> gr.HTML:
    """Draw the part into the open gradio block; what is next to Run brings what it shows."""
    return html_part("form", "texts", {})


def texts_props(texts: Sequence[TextLength]) -> dict[str, Any]:
    """Return the counts of the texts that are not empty, and the sentences about all of them."""
    counts = [
        {
            "text": form_strings.tokens_counted(text.tokens, text.chunks, text.room),
            "name": "" if text.name == "prompt" and not text.stage_px else text.title,
            "cut": text.is_cut,
        }
        for text in texts
        if text.tokens
    ]
    return {"counts": counts, "notices": [sentence for text in texts for sentence in text.sentences]}
