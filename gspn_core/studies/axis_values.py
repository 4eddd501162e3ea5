"""The numbers and texts that are typed for an axis: lists, ranges, counts, decimal commas, empty texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gspn_core.errors import BadSetting
from gspn_core.lora.text import loras_text, parse_loras
from gspn_core.planning.types import ModelCard
from gspn_core.settings import CHOICES, INTEGERS, RANGES, SEEDS

MAX_VALUES = 64
TEXTS = ("prompt", "negative_prompt", "ladder", "upscaler", "loras", "control")
# How the empty text is written on any line.
EMPTY = '""'
# A text of more parts than this has too many values even if some are equal.
_MOST_PARTS = 256
_MOST_PART_CHARACTERS = 200
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]+)?"
_SIGNED = rf"[-+]?{_NUMBER}"
# Two ends, with two dots or a dash between them, and a step or a count after them.
_RANGE = re.compile(
    rf"({_SIGNED})\s*(\.\.|[-–])\s*({_SIGNED})"
    rf"(?:\s+(?:by|step)\s+({_SIGNED})|\s*\(\s*([-+]?\s*{_NUMBER})\s*\)|\s*\[\s*([0-9]{{1,3}})\s*\])?",
    re.IGNORECASE,
)
_COUNT = re.compile(rf"([0-9]{{1,3}})\s+from\s+({_SIGNED})\s+to\s+({_SIGNED})", re.IGNORECASE)
_SEEDS = re.compile(r"([0-9]{1,3})\s+(?:seeds?\s+)?from\s+([0-9]{1,10})", re.IGNORECASE)
_COMMA_WITHIN = re.compile(r"(?<=[0-9]),(?=[0-9])")
_TWO_COMMAS = re.compile(r"[0-9],[0-9]+,[0-9]")


def refused(sentence: str) -> BadSetting:
    """Return the refusal of an axis."""
    return BadSetting("axis", sentence)


def forms(name: str, card: ModelCard) -> str:
    """Return how the values of a setting that is a number are written, by an example of each form."""
    if name in SEEDS:
        return "7, 11 or 4 from 7"
    if name in ("target", "start_px"):
        return ", ".join(map(str, card.targets[:2]))
    if name == "num_inference_steps":
        return "12, 24 or 12-48 (+12)"
    if name in INTEGERS:
        return "0, 64 or 0-256 (+64)"
    if RANGES[name].maximum > 4:
        return "2, 4 or 2-6 (+2)"
    if RANGES[name].minimum >= 1:
        return "1, 1.2 or 1..1.6 by 0.2"
    return "0.2, 0.4 or 0.2..0.6 by 0.1"


def texts_of(name: str, text: str) -> list[str]:
    """Return one text a line; a line without text is the empty text, but for prompts and at the end.

    Two quotation marks are the empty text on any line.
    """
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if name == "prompt":
        return [line for line in lines if line]
    if name == "loras":
        try:
            return [loras_text(parse_loras("" if line == EMPTY else line)) for line in lines]
        except BadSetting as refusal:
            raise refused(str(refusal)) from None
    return ["" if line == EMPTY else line for line in lines]


def numbers_of(name: str, text: str, card: ModelCard) -> list[int | float]:
    """Return the numbers in the text of an axis, in their order.

    A comma parts two values, unless it can only be meant as the point of a decimal; where both readings make
    sense, the refusal asks for one of them.
    """
    listed = _split(r"[,;\n]", text)
    if name in INTEGERS or not _COMMA_WITHIN.search(text):
        return _parsed(name, listed, card)
    decimal = _split(r"[;\n]|,(?![0-9])|(?<![0-9]),", text)
    found, refusal = _tried(name, listed, card)
    with_points = None
    if not _TWO_COMMAS.search(text):
        with_points, _ = _tried(name, [_COMMA_WITHIN.sub(".", part) for part in decimal], card)
    if with_points is None:
        if refusal:
            raise refusal
        if ";" not in text and len(set(found)) < len(found) and len(found) % 2 == 0:
            raise _question(listed, [f"{a}.{b}" for a, b in zip(listed[::2], listed[1::2], strict=True)])
        return found
    has_other_parts = ";" in text or "\n" in text
    if refusal or (len(decimal) > 1 and (has_other_parts or all(map(_COMMA_WITHIN.search, decimal)))):
        return with_points
    raise _question(listed, [_COMMA_WITHIN.sub(".", part) for part in decimal])


def _question(listed: Sequence[str], decimal: Sequence[str]) -> BadSetting:
    first, second = (", ".join(parts[:8]) for parts in (listed, decimal))
    return refused(f"a comma can part values or be a decimal point here; write {first} or {second}.")


def _split(pattern: str, text: str) -> list[str]:
    return [part for part in map(str.strip, re.split(pattern, text)) if part]


def _tried(name: str, parts: Sequence[str], card: ModelCard) -> tuple[list[int | float], BadSetting | None]:
    """Return the numbers of these parts, or the refusal of one; None in their place."""
    try:
        return _parsed(name, parts, card), None
    except BadSetting as refusal:
        return None, refusal


def _parsed(name: str, parts: Sequence[str], card: ModelCard) -> list[int | float]:
    check_count(name, parts)
    return [number for part in parts for number in _numbers(name, part, card)]


def check_count(name: str, parts: Sequence[str]) -> None:
    """Raise BadSetting for more parts than can be values."""
    if len(parts) > _MOST_PARTS:
        raise refused(f"{name} has {len(parts)} values, at most {MAX_VALUES} fit; leave some out.")


def _numbers(name: str, part: str, card: ModelCard) -> list[int | float]:
    """Return the numbers that one part stands for: one, a range or a count."""
    remedy = f"write {forms(name, card)}."
    if len(part) > _MOST_PART_CHARACTERS:
        raise refused(f"{part[:40]!r} is not a number for {name}; {remedy}")
    seeds = _SEEDS.fullmatch(part) if name in SEEDS else None
    if seeds:
        return [int(seeds[2]) + i for i in range(int(seeds[1]))]
    whole = name in INTEGERS
    count, span = _COUNT.fullmatch(part), _RANGE.fullmatch(part)
    if count:
        found = _spread(part, int(count[1]), float(count[2]), float(count[3]))
    elif span and span[6]:
        found = _spread(part, int(span[6]), float(span[1]), float(span[3]))
        # As other tools count whole numbers between two ends.
        found = [float(int(value + 1e-9)) for value in found] if whole else found
    elif span:
        found = _stepped(name, part, span, remedy)
    elif re.fullmatch(_SIGNED, part, re.IGNORECASE):
        found = [float(part)]
    else:
        raise refused(f"{part[:40]!r} is not a number for {name}; {remedy}")
    if name in SEEDS and min(found) < 0:
        raise refused(f"{part[:40]!r} is not a seed; {remedy}")
    # Adding zero turns -0 into 0.
    rounded = [round(value, 9) + 0.0 for value in found]
    return [int(value) if whole and value.is_integer() else value for value in rounded]


def _stepped(name: str, part: str, span: re.Match[str], remedy: str) -> list[float]:
    """Return the numbers of a range: by its step, else by 1 after a dash and by the slider's after dots."""
    low, high = float(span[1]), float(span[3])
    given = (span[4] or span[5] or "").replace(" ", "")
    # In brackets a step has the sign of its direction.
    step = float(given.lstrip("-") if span[5] else given) if given else 0.0
    if not given:
        step = RANGES[name].step if span[2] == ".." else 1.0
        if span[2] != ".." and 0 < abs(high - low) < 1:
            raise refused(f"{part[:40]!r} has no step; write {span[1]}-{span[3]} [3] for three values.")
    steps = abs(high - low) / step if 0 < step < 1e300 else MAX_VALUES
    if not steps < MAX_VALUES:
        raise refused(f"{part[:40]!r} is not a range of at most {MAX_VALUES} values; {remedy}")
    sign = 1 if low <= high else -1
    return [low + sign * i * step for i in range(int(steps + 1e-9) + 1)]


def _spread(part: str, number: int, low: float, high: float) -> list[float]:
    """Return so many numbers at equal distances between two ends."""
    if not 2 <= number <= MAX_VALUES:
        raise refused(f"{part[:40]!r} asks for {number} values; ask for 2 to {MAX_VALUES}.")
    return [low + (high - low) * i / (number - 1) for i in range(number)]


def choices_of(name: str, text: str, card: ModelCard) -> list[str]:
    """Return the names that are typed for a setting that is one of a few, or all of them."""
    parts = _split(r"[,;\n]", text)
    check_count(name, parts)
    offered = card.mixers if name == "mixer" else CHOICES[name]
    if [part.lower() for part in parts] == ["all"]:
        return list(offered)
    wrong = next((part for part in parts if part.lower() not in offered), None)
    if wrong is not None:
        raise refused(f"{name} has no {wrong[:40]!r}; it has {', '.join(offered)}.")
    return [part.lower() for part in parts]


def aspects_of(name: str, text: str) -> list[str]:
    """Return the aspects that are typed."""
    parts = _split(r"[,;\n]", text)
    check_count(name, parts)
    return parts
