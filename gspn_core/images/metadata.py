"""Settings from the metadata of a picture: of this project, and of other tools as far as they apply."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.images.control_values import differing_controls, kept_control
from gspn_core.images.lora_values import differing_files, hashes_in, kept_from, taken_from
from gspn_core.images.other_tools import read_foreign
from gspn_core.planning.types import ModelCard
from gspn_core.prompts import markup_in
from gspn_core.settings import FIELD_NAMES, Settings

MOST_LISTED = 40
_MOST_SHOWN = 90


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings found in a picture, and what could not be used.

    Args:
        settings: valid values by name.
        unknown: names and values that have no setting here.
        refused: sentences about values out of range.
        differing: by name, the version or model that the picture was made with, and the one here.
        stage: the stage that the picture shows; None for a picture of another tool.
        tool: the other tool that made it, "" where that is not known.
        markup: what of other tools' prompt syntax is in the prompts, where it means nothing here.
    """

    settings: Mapping[str, Any]
    unknown: Sequence[str] = ()
    refused: Sequence[str] = ()
    differing: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stage: int | None = None
    tool: str = ""
    markup: Sequence[str] = ()

    @property
    def is_ours(self) -> bool:
        """Return whether this project wrote the picture."""
        return self.stage is not None


def recipe_of(texts: Mapping[str, Any], card: ModelCard, here: Mapping[str, str | None]) -> Recipe:
    """Return the recipe of a picture from its metadata.

    Args:
        texts: from `gspn_core.images.picture_text.read_texts`.
        card: of the model that the settings are for.
        here: the versions of this server.

    Raises:
        BadSetting: the picture has no settings, or another tool's that cannot be read; then with its name.
    """
    info = texts["gspn_studio"]
    if info is not None:
        return _ours(info, card, here)
    return _others(texts, card)


def _ours(info: Mapping[str, Any], card: ModelCard, here: Mapping[str, str | None]) -> Recipe:
    given = info["settings"]
    known = {name: value for name, value in given.items() if name in FIELD_NAMES}
    settings, refused = _checked(known, card)
    if settings.get("loras"):
        settings["loras"], absent = kept_from(settings["loras"], card)
        refused = [*absent, *refused][:MOST_LISTED]
    settings, absent = kept_control(settings, card)
    refused = [*absent, *refused][:MOST_LISTED]
    unknown = [f"{str(name)[:40]}: {str(value)[:40]}" for name, value in given.items() if name not in known]
    there = info.get("versions")
    there = there if isinstance(there, Mapping) else {}
    differing = {
        name: (str(there.get(name) or "—")[:40], str(here[name] or "—"))
        for name in here
        # Pictures of earlier versions do not have the number of threads.
        if str(there.get(name)) != str(here[name]) and (name in there or name != "threads")
    }
    model = str(info.get("model"))[:80]
    if model != card.name:
        differing["model"] = (model, card.name)
    loras = info.get("loras")
    differing |= differing_files(settings.get("loras", ""), loras if isinstance(loras, Mapping) else {}, card)
    differing |= differing_controls(settings, info.get("controls"), card)
    stage = info.get("stage")
    stage = stage if isinstance(stage, int) and 0 <= stage < 16 else 0
    return Recipe(
        settings=settings, unknown=unknown[:MOST_LISTED], refused=refused, differing=differing, stage=stage
    )


def _others(texts: Mapping[str, Any], card: ModelCard) -> Recipe:
    foreign = read_foreign(texts)
    found = dict(foreign.found)
    width, height = texts["width"], texts["height"]
    prompts = [str(found.get(name) or "") for name in ("prompt", "negative_prompt")]
    prompts[0], loras, absent = taken_from(prompts[0], card)
    found["prompt"], found["negative_prompt"] = prompts[0].strip() or None, prompts[1].strip()
    if loras:
        found["loras"] = loras
    found["target"] = min(card.targets, key=lambda px: abs(px - math.sqrt(width * height)))
    divisor = math.gcd(width, height)
    found["aspect"] = f"{width // divisor}:{height // divisor}"
    settings, refused = _checked(found, card)
    return Recipe(
        settings=settings,
        differing=differing_files(loras, hashes_in(foreign.lora_hashes), card),
        unknown=[entry[:_MOST_SHOWN] for entry in foreign.unknown[:MOST_LISTED]],
        refused=[*absent, *refused][:MOST_LISTED],
        tool=foreign.tool,
        markup=markup_in(*prompts),
    )


def _checked(found: Mapping[str, Any], card: ModelCard) -> tuple[dict[str, Any], list[str]]:
    """Return the values that are valid one by one, and a sentence for each that is not."""
    settings, refused = {}, []
    for name, value in found.items():
        if value is None:
            continue
        try:
            made = Settings.from_dict({"prompt": "a", name: value})
            if name == "target" and made.target not in card.targets:
                offered = ", ".join(map(str, card.targets))
                raise BadSetting("target", f"target is {made.target}, {card.title} reaches {offered}.")
            if name == "mixer" and made.mixer not in card.mixers:
                raise BadSetting("mixer", f"mixer is {made.mixer}, {card.title} has no such mixer.")
        except BadSetting as refusal:
            refused.append(str(refusal))
            continue
        settings[name] = made.to_dict()[name]
    return settings, refused[:MOST_LISTED]
