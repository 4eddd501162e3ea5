"""The page as a whole: its title, places, keys, the model in the masthead, the API."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gspn_core.events import ModelProgress
from gspn_core.planning.types import ModelCard
from ui.shared.strings import units

TITLE = "GSPN Studio"

# Each in its own words, by its code; the folders next to this file have what the page says in them.
LANGUAGES: Mapping[str, str] = MappingProxyType({"en": "English", "zh": "简体中文"})

SPACE_HARDWARE = "Free CPU: built-in mini model. Duplicate this Space on a 24 GB GPU for full SDXL."

DUPLICATE = "Duplicate this Space"

LOADING_MODEL = "loading the model …"

MODEL_OF_HOST = "The model is for all visitors of this page; only its host changes it."

# In the order of the navigation.
PLACES: Mapping[str, str] = MappingProxyType(
    {"studio": "Studio", "compare": "Compare", "lab": "Lab", "history": "History"}
)

# Keys, separated by spaces, and what they do.
KEYS: tuple[tuple[str, str], ...] = (
    ("Ctrl Enter", "Run"),
    ("Esc", "Stop"),
    ("1 … 9", "Show a stage"),
    ("Z", "Fit or 1:1"),
    ("+ − 0", "Zoom in, zoom out, fit"),
    ("← ↑ ↓ →", "Pan the image"),
    ("F", "Full screen"),
    ("P", "Pin the image as A, or unpin it"),
    ("C", "Compare with A, or the last two stages"),
    ("S B H D", "In Compare: slider, side by side, flip, difference"),
    ("X", "In Compare: swap A and B"),
    ("?", "Keyboard shortcuts"),
)

API: Mapping[str, str] = MappingProxyType(
    {
        "run": "Queue a run and return its id. Every setting is a parameter; None leaves it to the model.",
        "follow": "Tell a run as it goes on, to its end: state, stage, step, seconds, memory, stages.",
        "picture": "Keep a picture and return its reference, for run's `start` or `control_image`.",
        "fetch": "Return the PNG of a finished stage of a run: its number from 1, or 0 for the last one.",
    }
)


def loading(reading: ModelProgress | None) -> str:
    """Return how far the reading of the model is."""
    if reading is None or not reading.total_bytes:
        return LOADING_MODEL
    done, total = units.bytes_(reading.done_bytes), units.bytes_(reading.total_bytes)
    if reading.doing == "fetch":
        return f"fetching {reading.part}, {done} of {total} …"
    return f"loading the model, {done} of {total} …"


def changing_to(title: str) -> str:
    """Return that another model comes."""
    return f"changing to {title} …"


def described(card: ModelCard) -> str:
    """Return what a model is, and what of it is kept in fewer bits."""
    kept = None if card.shapes is None else card.shapes.unet.quantized
    if kept is None:
        return card.description
    unet = card.shapes.unet
    return (
        f"{card.description}; {kept.layers} linear layers of its UNet are kept in {kept.scheme} with "
        f"{kept.package}, so that its weights take {units.bytes_(unet.weight_bytes(2))} in place of "
        f"{units.bytes_(2 * unet.parameters)}"
    )


def fell_back(sentence: str, title: str) -> str:
    """Return that the model that was asked for is not served, and which is."""
    return f"{sentence} {title} is used instead."


def model_choice(title: str, current: bool) -> str:
    """Return a model in the menu at the top."""
    return f"{title} · in use" if current else title


def no_picture_yet(stage: int) -> str:
    """Return the sentence for a stage whose picture is not written."""
    which = f"Stage {stage} of this run" if stage else "This run"
    return f"{which} has no finished picture; follow the run and fetch it once it is done."
