"""Records as they are read from disk: JSON of valid text, checked against the dataclass that it becomes.

What a page shows of a record it sends as JSON, so that a single value out of place would break every answer
that holds it. Whatever is wrong is a ValueError or a TypeError here; who reads sets the record aside.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gspn_core.settings import FIELD_NAMES, INTEGERS, RANGES

# What a browser's numbers hold exactly.
MAX_INTEGER = 2**53
# Some thirty years; what the clock of a page can show ends with the year 9999.
MAX_SECONDS = 1e9
MAX_MOMENT = 253_402_300_799.0
MAX_PX = 10**6
# What reading a damaged record may raise, and no more than that.
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def valid_text(text: str) -> str:
    """Return text that can be sent: pairs of surrogates are joined, half of one becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, every text in it valid; raise OSError, ValueError or RecursionError."""
    return _with_valid_text(json.loads(path.read_bytes()))


def check_record(record: Any) -> None:
    """Raise ValueError or TypeError unless every field of a dataclass holds what its type says.

    Beyond the types: numbers are finite, integers fit into MAX_INTEGER, what is named `created` is a moment
    that a clock can show, what ends in `seconds` is at most MAX_SECONDS, settings are checked by name.
    """
    for name, hint in _hints(type(record)).items():
        value = getattr(record, name)
        _check(value, hint, name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            _check_amount(name, value)
        if name in ("settings", "base"):
            check_settings(value)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError where a setting is not of its kind; ranges are a matter of a new run."""
    for name, value in settings.items():
        if name in RANGES:
            _check(value, int | None if name in INTEGERS else float | None, name)
        elif name == "overrides":
            _check_overrides(value)
        elif name in FIELD_NAMES:
            _check(value, str | None, name)


def _check_overrides(overrides: Any) -> None:
    if not isinstance(overrides, (list, tuple)):
        raise TypeError("overrides")
    for override in overrides:
        if set(override) != {"stage_px", "name", "value"}:
            raise ValueError("overrides")
        _check(override["stage_px"], int, "overrides")
        _check(override["name"], str, "overrides")
        _check(override["value"], int | float | str, "overrides")


def _check_amount(name: str, value: float) -> None:
    if name.endswith("created") and not 0 <= value <= MAX_MOMENT:
        raise ValueError(name)
    if name.endswith("seconds") and not abs(value) <= MAX_SECONDS:
        raise ValueError(name)
    if name in ("height", "width") and not 1 <= value <= MAX_PX:
        raise ValueError(name)


def _check(value: Any, hint: Any, name: str) -> None:
    origin, options = get_origin(hint), get_args(hint)
    if hint is Any:
        _check_plain(value, name)
    elif origin in (Union, types.UnionType):
        if not any(_fits(value, option, name) for option in options):
            raise TypeError(name)
    elif origin is Literal:
        if not isinstance(value, str) or value not in options:
            raise ValueError(name)
    elif origin is tuple:
        _check_tuple(value, options, name)
    elif origin is dict:
        if not isinstance(value, dict):
            raise TypeError(name)
        _check_plain(value, name)
    elif dataclasses.is_dataclass(hint):
        if not isinstance(value, hint):
            raise TypeError(name)
        check_record(value)
    elif not _is_number(value, hint) if hint in (int, float) else not isinstance(value, hint):
        raise TypeError(name)


def _fits(value: Any, hint: Any, name: str) -> bool:
    try:
        _check(value, hint, name)
    except (ValueError, TypeError):
        return False
    return True


def _check_tuple(value: Any, options: tuple, name: str) -> None:
    if not isinstance(value, tuple):
        raise TypeError(name)
    kinds = options[:1] * len(value) if options[1:] == (...,) else options
    for item, kind in zip(value, kinds, strict=True):
        _check(item, kind, name)


def _check_plain(value: Any, name: str) -> None:
    """Raise unless a value is made of what JSON knows, its numbers finite."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check(key, str, name)
            _check_plain(item, name)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(item, name)
    elif not (value is None or isinstance(value, (str, bool)) or _is_number(value, float)):
        raise TypeError(name)


def _is_number(value: Any, kind: type) -> bool:
    """Return whether a value is a finite number; an integer serves as a float too."""
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        return False
    return abs(value) <= MAX_INTEGER if isinstance(value, int) else math.isfinite(value)


def _with_valid_text(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict):
        return {valid_text(key): _with_valid_text(item) for key, item in value.items()}
    return list(map(_with_valid_text, value)) if isinstance(value, list) else value


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)
