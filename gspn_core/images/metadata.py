"""Settings from the metadata of a picture: of this project, and of other tools as far as they apply."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.images.png import SAMPLERS
from gspn_core.planning.types import ModelCard
from gspn_core.settings import FIELD_NAMES, Settings

MOST_LISTED = 40
# Names are bounded, or a long line without a colon would take quadratic time.
_PAIR = re.compile(r'(?<![\w\-/])(\w[\w \-/]{0,59}?):[ \t]*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_MOST_PAIRS_CHARACTERS = 8192
_NEGATIVE = "Negative prompt:"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings found in a picture, and what could not be used.

    Args:
        settings: valid values by name.
        unknown: names and values that have no setting here.
        refused: sentences about values out of range.
        differing: by name, the version or model that the picture was made with, and the one here.
        stage: the stage that the picture shows; None for a picture of another tool.
    """

    settings: Mapping[str, Any]
    unknown: Sequence[str] = ()
    refused: Sequence[str] = ()
    differing: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stage: int | None = None

    @property
    def is_ours(self) -> bool:
        """Return whether this project wrote the picture."""
        return self.stage is not None


def recipe_of(texts: Mapping[str, Any], card: ModelCard, here: Mapping[str, str | None]) -> Recipe:
    """Return the recipe of a picture from its metadata.

    Args:
        texts: from `gspn_core.images.png_text.read_png`.
        card: of the model that the settings are for.
        here: the versions of this server.

    Raises:
        BadSetting: the picture has no settings.
    """
    info = texts["gspn_studio"]
    if info is not None:
        return _ours(info, card, here)
    if texts["parameters"] and texts["parameters"].strip():
        return _others(texts["parameters"], texts["width"], texts["height"], card)
    raise BadSetting(
        "picture", "This picture does not say how it was made; choose one that holds its settings."
    )


def _ours(info: Mapping[str, Any], card: ModelCard, here: Mapping[str, str | None]) -> Recipe:
    given = info["settings"]
    known = {name: value for name, value in given.items() if name in FIELD_NAMES}
    settings, refused = _checked(known, card)
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
    stage = info.get("stage")
    stage = stage if isinstance(stage, int) and 0 <= stage < 16 else 0
    return Recipe(
        settings=settings, unknown=unknown[:MOST_LISTED], refused=refused, differing=differing, stage=stage
    )


def _others(text: str, width: int, height: int, card: ModelCard) -> Recipe:
    """Parse a text with a prompt, a negative prompt and a last line of "Name: value" pairs."""
    prompt, negative, pairs = _parted(text)
    found: dict[str, Any] = {"prompt": prompt or None, "negative_prompt": negative}
    unknown = []
    samplers = {title: name for name, title in SAMPLERS.items()}
    schedule = pairs.pop("Schedule type", "")
    for name, value in pairs.items():
        sampler = f"{value} Karras" if schedule == "Karras" else value
        if name == "Steps":
            found["num_inference_steps"] = _number(value)
        elif name == "CFG scale":
            found["guidance_scale"] = _number(value)
        elif name == "Seed":
            found["seed"] = _number(value)
        elif name == "Sampler" and (sampler in samplers or value in samplers):
            found["scheduler"] = samplers.get(sampler, samplers.get(value))
        elif name != "Size":
            unknown.append(f"{name[:40]}: {value[:40]}")
    if schedule and schedule != "Karras":
        unknown.append(f"Schedule type: {schedule[:40]}")
    found["target"] = min(card.targets, key=lambda px: abs(px - math.sqrt(width * height)))
    divisor = math.gcd(width, height)
    found["aspect"] = f"{width // divisor}:{height // divisor}"
    settings, refused = _checked(found, card)
    return Recipe(settings=settings, unknown=unknown[:MOST_LISTED], refused=refused)


def _parted(text: str) -> tuple[str, str, dict[str, str]]:
    """Return the prompt, the negative prompt and the pairs of the last line, if it has any."""
    # Not splitlines, which splits at more characters than these tools do and would change prompts.
    lines = text.replace("\r\n", "\n").strip().split("\n")
    pairs = dict(_PAIR.findall(lines[-1][:_MOST_PAIRS_CHARACTERS]))
    if "Steps" in pairs or len(pairs) >= 3:
        lines.pop()
    else:
        pairs = {}
    start = next((i for i, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[start:]).removeprefix(_NEGATIVE)
    return "\n".join(lines[:start]).strip(), negative.strip(), pairs


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


def _number(text: str) -> Any:
    try:
        value = float(text)
    except ValueError:
        return text[:40]
    return int(value) if value.is_integer() else value
