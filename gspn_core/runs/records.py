"""Reading records from disk: JSON of valid text, checked against the dataclass that it becomes.

Records are sent to the page as JSON, so a single bad value would break every answer that contains it. Damage
raises ValueError or TypeError here; the caller sets the record aside.
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

# The largest integer that a browser represents exactly.
MAX_INTEGER = 2**53
# About thirty years; dates on the page end with the year 9999.
MAX_SECONDS = 1e9
MAX_MOMENT = 253_402_300_799.0
MAX_PX = 10**6
# The exceptions that reading a damaged record may raise.
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def valid_text(text: str) -> str:
    """Return text that can be encoded: surrogate pairs are joined, single surrogates become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def why(error: BaseException) -> str:
    """Return an error for one line of the log; its repr may hold the whole damaged record."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def read_json(path: Path) -> Any:
    """Read a JSON file and make every text in it valid; raise OSError, ValueError or RecursionError."""
    return _with_valid_text(json.loads(path.read_bytes()))


def check_record(record: Any) -> None:
    """Raise ValueError or TypeError unless every field of a dataclass has the type that it declares.

    In addition, numbers must be finite, integers at most MAX_INTEGER, `created` a date that can be shown,
    fields ending in `seconds` at most MAX_SECONDS, and settings are checked by name.
    """
    for name, hint in _hints(type(record)).items():
        value = getattr(record, name)
        _check(value, hint, name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            _check_amount(name, value)
        if name in ("settings", "base"):
            check_settings(value)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError if a setting has the wrong type; ranges are checked by a new run."""
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
    """Raise unless a value consists of JSON types with finite numbers."""
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
