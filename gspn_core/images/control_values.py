"""The control of a picture's settings, where its network is not here or is another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gspn_core.planning.types import ModelCard

_SHOWN_DIGITS = 12


def kept_control(settings: Mapping[str, Any], card: ModelCard) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return settings without a control that is not here, and a sentence if that is so.

    Args:
        settings: by name, each valid by itself.
        card: of the model.
    """
    name, here = settings.get("control"), {file.name for file in card.conditions or () if not file.issue}
    if not name or name in here:
        return dict(settings), ()
    kept = {key: value for key, value in settings.items() if key not in ("control", "control_image")}
    return kept, (f"control: {str(name)[:60]} is not in the folder that --controls names.",)


def differing_controls(
    settings: Mapping[str, Any], made_with: Any, card: ModelCard
) -> dict[str, tuple[str, str]]:
    """Return the control if it is another than a picture was made with: by name, the digest there and here.

    made_with: digests of the picture's by name.
    """
    name = settings.get("control")
    there = str(made_with.get(name, "")) if isinstance(made_with, Mapping) else ""
    here = next((file.digest for file in card.conditions or () if file.name == name), there)
    if not there or there == here:
        return {}
    return {f"control {name}": (there[:_SHOWN_DIGITS], here[:_SHOWN_DIGITS])}
