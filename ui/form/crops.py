"""What a slider does, as stored crops at some of its values; drawn by crops.js, fetched when shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from gspn_core.planning.types import ModelCard
from gspn_core.settings import RANGES
from ui.form.form import is_offered
from ui.guard.files import file_url
from ui.shared.part import html_part
from ui.shared.strings import form_strings, labels

# Written by `python -m gspn_core.evaluation.slider_crops`, which says what is in its index.
FOLDER = Path(__file__).parent / "crops"
_INDEX = "index.json"


def build_crops(card: ModelCard, folder: Path = FOLDER) -> gr.HTML:
    """Draw the part into the open gradio block; it draws into the sliders' own blocks."""
    return html_part("form", "crops", {}, **crops_props(card, folder))


def crops_props(card: ModelCard, folder: Path = FOLDER) -> dict[str, Any]:
    """Return each slider's crops, by its name, and what they are cut from; none where none are stored."""
    index = _read_index(folder)
    if index is None:
        return {"sliders": {}, "caption": ""}
    sliders = {
        name: shown
        for name, stored in index["sliders"].items()
        if name in RANGES and is_offered(name, card)
        if (shown := _slider(name, stored, index["crop_px"], folder)) is not None
    }
    drawn_by = (index["model"]["name"], index["model"]["title"])
    other = "" if drawn_by == (card.name, card.title) else card.title
    caption = form_strings.crops_drawn(index["prompt"], index["target"], index["seed"], other)
    return {"sliders": sliders, "caption": caption}


def _read_index(folder: Path) -> Mapping[str, Any] | None:
    try:
        return json.loads((folder / _INDEX).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _slider(name: str, stored: Mapping[str, Any], px: int, folder: Path) -> dict[str, Any] | None:
    """Return one slider's crops; None where a value is outside its range or a file is gone."""
    bounds, label = RANGES[name], labels.LABELS[name]
    crops = []
    for crop in stored["crops"]:
        path, value = folder / crop["file"], crop["value"]
        if not (bounds.minimum <= value <= bounds.maximum and path.is_file()):
            return None
        version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        crops.append(
            {
                "value": value,
                "said": form_strings.crop_value(name, value, neutral=value == stored.get("neutral")),
                "alt": form_strings.crop_at(label, value),
                "title": form_strings.crop_set(label, value),
                "url": f"{file_url(str(path))}?v={version}",
            }
        )
    return {"label": form_strings.crops_of(label), "px": px, "crops": crops}
