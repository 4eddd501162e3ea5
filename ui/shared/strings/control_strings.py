"""Strings of the control: a ControlNet or T2I-Adapter and the picture that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NO_CONTROL = "No control"

CONTROL: Mapping[str, str] = MappingProxyType(
    {
        "control_open": "Control image…",
        "control_hint": "Edges, depth, a pose: what the network was trained to read. It is not made here.",
        "control_alt": "The control image",
    }
)


def controls_here(usable: int, unusable: int, *, is_given: bool) -> str:
    """Return how many networks there are for the model; is_given: a folder of them is."""
    if not is_given:
        return "Control: needs a folder of ControlNets or T2I-Adapters, --controls at the start."
    if usable and not unusable:
        return ""
    others = "1 folder cannot" if unusable == 1 else f"{unusable} folders cannot"
    if usable:
        return f"Control: {others} be used with this model."
    if unusable:
        return f"Control: none for this model; {others} be used with it."
    return "Control: the folder that --controls names holds no ControlNet or T2I-Adapter."
