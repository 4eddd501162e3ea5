"""What a visitor's script sends with an event, read into types of our own or refused in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gspn_core.errors import BadSetting
from ui.shared.strings import guard_strings

MOST_VALUES = 20_000
MOST_DEPTH = 16
# The longest path that is looked up here, in characters, and the longest name in it, in bytes.
MOST_PATH_CHARACTERS = 1024
MOST_NAME_BYTES = 255
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NUMBERS = (bool, int, float, type(None))


class Payload(BaseModel):
    """What comes with one event. Whatever else is sent along is left out."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


def as_text(value: Any) -> str:
    """Return a text as it is, "" for what is none."""
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else -1


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return names with their values as they are, an empty mapping for what is none."""
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# Names and places that point at nothing where they are of another type, and are then said not to be there.
Name = Annotated[str, BeforeValidator(as_text), Field(max_length=4096)]
Whole = Annotated[int, BeforeValidator(_whole)]
Items = BeforeValidator(_items)

P = TypeVar("P", bound=Payload)


def read(kind: type[P], sent: Any) -> P:
    """Return what was sent as its type; raise BadSetting naming the first field that is of another."""
    try:
        return kind.model_validate(as_mapping(sent))
    except ValidationError as error:
        place = error.errors(include_url=False, include_input=False)[0]["loc"]
        raise BadSetting("payload", guard_strings.bad_payload(str(place[0])[:40] if place else "")) from None


def visitor_of(token: Any) -> str:
    """Return the token of a visitor's browser, "" for none; raise BadSetting for what is not a token."""
    if token is None or token == "":
        return ""
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise BadSetting("payload", guard_strings.bad_payload("visitor"))
    return token


def job_of(sent: Any) -> str:
    """Return the id of a run that a page sent, "" for what is none."""
    return sent if isinstance(sent, str) and _TOKEN.fullmatch(sent) else ""


def check_plain(value: Any, *, may_hold_file: bool = False) -> None:
    """Raise BadSetting for what no page sends: a file of this machine, halves of characters, endless nesting.

    Args:
        value: As JSON gave it.
        may_hold_file: Whether a file that was sent here before may be named in it.
    """
    pending, count = [(value, 0)], 0
    while pending:
        one, depth = pending.pop()
        count += 1
        if count > MOST_VALUES or depth > MOST_DEPTH:
            raise BadSetting("payload", guard_strings.PAYLOAD_TOO_LARGE)
        if isinstance(one, str):
            _check_text(one)
        elif isinstance(one, dict):
            if names_file(one) and not may_hold_file:
                raise BadSetting("payload", guard_strings.NO_FILES_HERE)
            _check_path(one.get("path"))
            pending += [(key, depth + 1) for key in one]
            pending += [(item, depth + 1) for item in one.values()]
        elif isinstance(one, (list, tuple)):
            pending += [(item, depth + 1) for item in one]
        elif not isinstance(one, _NUMBERS):
            raise BadSetting("payload", guard_strings.bad_payload(""))


def names_file(value: Any) -> bool:
    """Tell whether Gradio could take a value for a file, or for a change of a component."""
    return isinstance(value, dict) and ("meta" in value or "__type__" in value)


def files_in(value: Any) -> list[Mapping[str, Any]]:
    """Return all that Gradio would take for a file, or for a change below the top, in an answer's value."""
    found, pending = [], [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            if "meta" in one and "path" in one:
                found.append(one)
            pending += one.values()
        elif isinstance(one, (list, tuple)):
            pending += one
    return found


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadSetting("payload", guard_strings.HALF_CHARACTER) from None


def _check_path(path: Any) -> None:
    # Gradio asks the file system about each path in an event; for what can be no file's name that raises.
    if isinstance(path, str) and (
        "\0" in path or len(path) > MOST_PATH_CHARACTERS or _longest_name(path) > MOST_NAME_BYTES
    ):
        raise BadSetting("payload", guard_strings.NO_FILES_HERE)


def _longest_name(path: str) -> int:
    return max(len(name.encode("utf-8", "surrogatepass")) for name in path.split("/"))
