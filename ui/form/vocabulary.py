"""The words that a model knows, as chips under the prompt; none where it takes any words."""

from __future__ import annotations

import gradio as gr

from gspn_core.planning.types import ModelCard
from ui.shared.part import html_part
from ui.shared.strings import form_strings

# What continues a phrase without a comma: "snowy mountains", "mountains at dusk".
_CONTINUES = ("foreground", "time")
_FOLLOWS = {"terrain": "cover"}


def build_vocabulary(card: ModelCard) -> gr.HTML | None:
    """Draw the chips of a model's words into the open gradio block; nothing where it takes any words."""
    if not card.vocabulary:
        return None
    known = dict(card.vocabulary)
    families = [
        {
            "name": name,
            "label": form_strings.FAMILIES[name],
            "phrases": list(phrases),
            # After these words, or after any where it is None, no comma is needed.
            "after": None if name in _CONTINUES else list(known.get(_FOLLOWS.get(name, ""), ())),
        }
        for name, phrases in card.vocabulary
    ]
    return html_part("form", "vocabulary", {}, families=families)
