"""LoRA files that a picture names: which of them are here, and whether they are the same files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.lora.text import LoraUse, loras_text, parse_loras, readable_tags, without_tags
from gspn_core.planning.types import ModelCard

_LEAST_DIGITS, _MOST_DIGITS = 8, 64
_HASH = re.compile(rf"[0-9a-fA-F]{{{_LEAST_DIGITS},{_MOST_DIGITS}}}")
_MOST_HASHES = 64


def taken_from(prompt: str, card: ModelCard) -> tuple[str, str, tuple[str, ...]]:
    """Return a foreign prompt without tags, what can be used here as text, and sentences on the rest."""
    uses, others = readable_tags(prompt)
    if not uses and not others:
        return prompt, "", ()
    here, missing = split_by_card(uses, card)
    said = [*map(_absent, missing), *(f"LoRA tag {tag} cannot be read here." for tag in others)]
    return without_tags(prompt), loras_text(here), tuple(said)


def kept_from(loras: Any, card: ModelCard) -> tuple[str, tuple[str, ...]]:
    """Return what of a setting of this project can be used here, and sentences on the rest.

    Raises:
        BadSetting: it is not such a setting.
    """
    here, missing = split_by_card(parse_loras(loras), card)
    return loras_text(here), tuple(map(_absent, missing))


def split_by_card(
    uses: tuple[LoraUse, ...], card: ModelCard
) -> tuple[tuple[LoraUse, ...], tuple[LoraUse, ...]]:
    """Return the files that a model has here, and the others."""
    names = {file.name for file in (() if card.loras is None else card.loras.all()) if not file.issue}
    here = tuple(use for use in uses if use.name in names)
    return here, tuple(use for use in uses if use.name not in names)


def differing_files(loras: str, made_with: Mapping[str, str], card: ModelCard) -> dict[str, tuple[str, str]]:
    """Return the files that are others than a picture was made with: by name, the hash there and here.

    Args:
        loras: the setting, with files that are here.
        made_with: hashes of the picture's by name, in full or their first digits.
        card: of the model.
    """
    found = {}
    for name, _ in parse_loras(loras):
        there = str(made_with.get(name, "")).lower()
        if not _HASH.fullmatch(there) or card.loras is None:
            continue
        try:
            hashes = card.loras.hashes(name)
        except BadSetting:
            continue
        if not any(own.startswith(there) for own in hashes):
            found[f"LoRA {name}"] = (there[:12], hashes[0][:12])
    return found


def hashes_in(value: Any) -> dict[str, str]:
    """Return the hashes by name in what other tools write as "Lora hashes": "ink: 1a2b…, snow: 3c4d…"."""
    if isinstance(value, str) and value.startswith('"'):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(value, str):
        return {}
    pairs = (entry.rpartition(":") for entry in value.split(",")[:_MOST_HASHES])
    return {name.strip(): digits.strip() for name, _, digits in pairs if name.strip()}


def _absent(use: LoraUse) -> str:
    return f"LoRA {use.name} ({use.weight:g}) is not here for this model; the picture was made with it."
