"""LoRA files with their weights as text, "ink:0.8, snow:0.5", and as tags in a prompt, <lora:ink:0.8>.

A name is a file's, without folder and ending; one without a weight has the weight 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from gspn_core.errors import BadSetting

# Files that one stage may have fused at once, and how strongly each.
MAX_LORAS = 8
MAX_LORA_WEIGHT = 4.0
MAX_LORAS_CHARACTERS = 1000
_NAME = re.compile(
    r"[^\s,:;<>\"/\\|\x00-\x1f\x7f](?:[^,:;<>\"/\\|\x00-\x1f\x7f]{0,98}[^\s,:;<>\"/\\|\x00-\x1f\x7f])?"
)
_WEIGHT = re.compile(r"[+-]?(?:[0-9]{1,2}(?:\.[0-9]{0,4})?|\.[0-9]{1,4})")
_TAG = r"<(?:lora|lyco)\s{0,9}:(?P<body>[^<>]{0,400})>"
_TAG_IN_PROMPT = re.compile(
    rf"(?P<comma>\s{{0,9}},)?\s{{0,9}}{_TAG}(?=(?P<end>\s{{0,9}},|\s{{0,9}}$)?)", re.IGNORECASE
)


class LoraUse(NamedTuple):
    """A LoRA file's name and the weight that it is fused with."""

    name: str
    weight: float


def is_name(name: str) -> bool:
    """Return whether a file's name can be written in a setting and in a tag."""
    return _NAME.fullmatch(name) is not None


def parse_loras(text: str) -> tuple[LoraUse, ...]:
    """Return what a text such as "ink:0.8, snow" names, sorted by name, without weights of 0.

    Raises:
        BadSetting: it is not such a text, or names too many, one twice, or too large a weight.
    """
    if not isinstance(text, str) or len(text) > MAX_LORAS_CHARACTERS:
        raise _unreadable("loras", text)
    return _parsed(text)


@lru_cache(maxsize=256)
def _parsed(text: str) -> tuple[LoraUse, ...]:
    entries = [entry.strip() for entry in text.replace("\n", ",").split(",")]
    uses = [_use("loras", entry) for entry in entries if entry]
    names = [use.name for use in uses]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadSetting("loras", f"loras: {twice} is named twice; keep one.")
    return combined("loras", uses)


def _use(field: str, entry: str) -> LoraUse:
    name, colon, weight = entry.partition(":")
    name, weight = name.strip(), weight.strip()
    if not is_name(name) or (colon and not _WEIGHT.fullmatch(weight)):
        raise _unreadable(field, entry)
    return LoraUse(name, float(weight) if colon else 1.0)


def combined(field: str, *groups: Iterable[LoraUse]) -> tuple[LoraUse, ...]:
    """Return the files of several groups by name, the weights of equal names added, none of weight 0.

    Args:
        field: the setting that a refusal names.
        groups: of a setting, of a prompt.

    Raises:
        BadSetting: there are too many, or a weight is too large.
    """
    weights: dict[str, float] = {}
    for use in (use for group in groups for use in group):
        weights[use.name] = round(weights.get(use.name, 0.0) + use.weight, 4)
    uses = sorted(LoraUse(name, weight) for name, weight in weights.items() if weight)
    if len(uses) > MAX_LORAS:
        raise BadSetting(field, f"{field}: {len(uses)} LoRA files, at most {MAX_LORAS} fit; leave some out.")
    for name, weight in uses:
        if abs(weight) > MAX_LORA_WEIGHT:
            nearest = MAX_LORA_WEIGHT if weight > 0 else -MAX_LORA_WEIGHT
            raise BadSetting(
                field,
                f"{field}: the weight of {name} must be from {-MAX_LORA_WEIGHT:g} to {MAX_LORA_WEIGHT:g}, "
                f"got {weight:g}; try {nearest:g}.",
            )
    return tuple(uses)


def loras_text(uses: Iterable[LoraUse]) -> str:
    """Return these as text for `parse_loras`."""
    return ", ".join(f"{name}:{weight:g}" for name, weight in uses)


def tags_text(uses: Iterable[LoraUse]) -> str:
    """Return these as tags of a prompt."""
    return " ".join(f"<lora:{name}:{weight:g}>" for name, weight in uses)


def take_tags(prompt: str) -> tuple[str, tuple[LoraUse, ...]]:
    """Return a prompt without its tags, and what they name.

    Raises:
        BadSetting: a tag is not of the form <lora:name:0.8>, or there are too many.
    """
    bodies = [match["body"] for match in _TAG_IN_PROMPT.finditer(prompt)]
    if not bodies:
        return prompt, ()
    if len(bodies) > MAX_LORAS:
        raise BadSetting(
            "prompt", f"prompt has {len(bodies)} LoRA tags, at most {MAX_LORAS} fit; leave some out."
        )
    return without_tags(prompt), combined("prompt", [_use("prompt", body.strip()) for body in bodies])


def without_tags(prompt: str) -> str:
    """Return a prompt without its tags, whatever is in them."""
    kept = _TAG_IN_PROMPT.sub(lambda tag: "" if tag["end"] is not None else tag["comma"] or "", prompt)
    return kept.strip().removeprefix(",").strip() if kept != prompt else prompt


def readable_tags(prompt: str) -> tuple[tuple[LoraUse, ...], tuple[str, ...]]:
    """Return what the tags of a foreign prompt name as far as they can be used, and the others' texts."""
    uses: dict[str, LoraUse] = {}
    left = []
    for match in _TAG_IN_PROMPT.finditer(prompt):
        try:
            (use,) = combined("prompt", [_use("prompt", match["body"].strip())]) or (None,)
        except BadSetting:
            left.append(f"<lora:{match['body'][:40]}>")
            continue
        if use is None:
            continue
        if use.name in uses or len(uses) == MAX_LORAS:
            left.append(f"<lora:{match['body'][:40]}>")
        else:
            uses[use.name] = use
    return tuple(sorted(uses.values())), tuple(left)


def _unreadable(field: str, entry: object) -> BadSetting:
    got = repr(str(entry)[:40])
    if field == "prompt":
        return BadSetting(field, f"prompt has a LoRA tag that is not of the form <lora:name:0.8>, got {got}.")
    return BadSetting(
        field,
        f"loras must name LoRA files, each with one weight, such as name:0.8, other:0.5, got {got}.",
    )
