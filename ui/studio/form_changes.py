"""What buttons next to the form send of its fields, and what may be sent back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gspn_core.settings import FIELD_NAMES
from ui.guard.payload import Name, Payload

Value = str | int | float | None


class Change(Payload):
    """A field and the value that it is given."""

    name: Name = ""
    value: Value = None


class Before(Payload):
    """What fields held, by name."""

    values: dict[str, Value] = {}


class Preset(Payload):
    """The preset that was chosen."""

    name: Name = ""


def held_of(values: Sequence[Any], names: Iterable[str]) -> dict[str, Any]:
    """Return what a form holds of some fields, as far as it is a plain value."""
    held = dict(zip(FIELD_NAMES, values, strict=True))
    return {name: held[name] for name in names if is_plain(held[name])}


def is_plain(value: Any) -> bool:
    """Return whether a page may be sent a value; JSON here holds integers of at most 64 bits."""
    if isinstance(value, int):
        return abs(value) < 2**53
    return value is None or isinstance(value, (str, float))
