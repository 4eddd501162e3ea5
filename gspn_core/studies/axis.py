"""The axes of a parameter study: a setting, and the values that were typed for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.planning.types import ModelCard
from gspn_core.settings import CHOICES, FIELD_NAMES, INTEGERS, OVERRIDABLE, RANGES, Override, Settings

MAX_VALUES = 64
MAX_CELLS = 64
# A text of more parts than this has too many values even if some are equal.
_MOST_PARTS = 256
_MOST_PART_CHARACTERS = 200
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]+)?"
_BY = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s+(?:by|step)\s+({_NUMBER}))?", re.IGNORECASE)
_COUNT = re.compile(rf"([0-9]{{1,3}})\s+from\s+({_NUMBER})\s+to\s+({_NUMBER})", re.IGNORECASE)
_SEEDS = re.compile(r"([0-9]{1,3})\s+(?:seeds?\s+)?from\s+([0-9]{1,10})", re.IGNORECASE)
_TEXTS = ("prompt", "negative_prompt", "ladder")
# Settings that can be an axis. Overrides are axes by stage and name; a study has one init image.
AXIS_NAMES: tuple[str, ...] = tuple(
    name for name in FIELD_NAMES if name not in ("start", "region", "overrides")
)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A setting's values along one axis of a study. stage_px: for that stage only; None for all stages."""

    name: str
    values: tuple[Any, ...]
    stage_px: int | None = None

    def applied(self, settings: Settings, value: Any) -> Settings:
        """Return the settings with one value of this axis applied; raise BadSetting if it is not valid."""
        if self.stage_px is None:
            return replace(settings, **{self.name: value})
        kept = [o for o in settings.overrides if (o.stage_px, o.name) != (self.stage_px, self.name)]
        return replace(
            settings, overrides=(*kept, Override(stage_px=self.stage_px, name=self.name, value=value))
        )


def parse_axis(name: str, text: str, card: ModelCard, stage_px: int | None = None) -> Axis:
    """Parse the axis of a setting from the text of its values; raise BadSetting("axis") with the remedy.

    Numbers: "0.2, 0.4, 0.6", "0.2..0.6 by 0.1", "5 from 0.1 to 0.9"; seeds also "4 from 7". choices: names,
    or "all". Prompts and ladders: one per line.
    """
    if name not in AXIS_NAMES:
        raise _refused(f"{str(name)[:40]!r} is not a setting; choose one of {', '.join(AXIS_NAMES)}.")
    if stage_px is not None and (name not in OVERRIDABLE or stage_px not in card.targets):
        raise _refused(f"{name} cannot be set for a stage of {stage_px} px alone; choose all stages.")
    values = _values(name, text, card)
    if not values:
        raise _refused(f"{name} has no values; type some, such as {example(name, card)}.")
    distinct = list(dict.fromkeys(values))
    if len(distinct) > MAX_VALUES:
        raise _refused(f"{name} has {len(distinct)} values, at most {MAX_VALUES} fit; leave some out.")
    return Axis(name=name, values=tuple(distinct), stage_px=stage_px)


def example(name: str, card: ModelCard) -> str:
    """Return an example of the text for a setting's values."""
    if name == "ladder":
        return f"{' '.join(map(str, card.targets))}\n{card.targets[0]}"
    if name in _TEXTS:
        return "one text a line"
    if name == "seed":
        return "4 from 7"
    if name == "target":
        return ", ".join(map(str, card.targets[:2]))
    if name == "aspect":
        return "1:1, 3:2"
    if name in CHOICES:
        return "all"
    low, high = RANGES[name].minimum, RANGES[name].maximum
    middle = (low + high) / 2
    if name == "num_inference_steps":
        return "12, 24, 48"
    return f"3 from {_plain(max(low, middle / 2))} to {_plain(middle)}"


def cells_of(settings: Settings, axes: Sequence[Axis]) -> list[tuple[tuple[Any, ...], Settings]]:
    """Return the values and the settings of every cell; the first axis varies slowest.

    Raises BadSetting for a value that is not valid, a repeated axis and too many cells.
    """
    if len({(axis.name, axis.stage_px) for axis in axes}) < len(axes):
        raise _refused(f"both axes are {axes[0].name}; choose another setting for one of them.")
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MAX_CELLS:
        raise _refused(f"the axes have {count} cells, at most {MAX_CELLS} fit; leave some values out.")
    cells: list[tuple[tuple[Any, ...], Settings]] = [((), settings)]
    for axis in axes:
        cells = [
            ((*values, value), axis.applied(base, value)) for values, base in cells for value in axis.values
        ]
    return cells


def _values(name: str, text: str, card: ModelCard) -> list[Any]:
    if not isinstance(text, str) or len(text) > 100_000:
        raise _refused(f"the values of {name} must be text of at most 100,000 characters; shorten them.")
    if name in _TEXTS:
        return [line.strip() for line in text.splitlines() if line.strip()]
    parts = [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]
    if len(parts) > _MOST_PARTS:
        raise _refused(f"{name} has {len(parts)} values, at most {MAX_VALUES} fit; leave some out.")
    if name in CHOICES:
        offered = card.mixers if name == "mixer" else CHOICES[name]
        if [part.lower() for part in parts] == ["all"]:
            return list(offered)
        wrong = next((part for part in parts if part.lower() not in offered), None)
        if wrong is not None:
            raise _refused(f"{name} has no {wrong[:40]!r}; it has {', '.join(offered)}.")
        return [part.lower() for part in parts]
    if name == "aspect":
        return parts
    return [number for part in parts for number in _numbers(name, part)]


def _numbers(name: str, part: str) -> list[int | float]:
    if len(part) > _MOST_PART_CHARACTERS:
        raise _refused(f"{part[:40]!r} is not a number for {name}; write 0.2, 0.4 or 0.2..0.6 by 0.1.")
    whole = name in INTEGERS
    seeds = _SEEDS.fullmatch(part) if name == "seed" else None
    if seeds:
        return [int(seeds[2]) + i for i in range(int(seeds[1]))]
    by, count = _BY.fullmatch(part), _COUNT.fullmatch(part)
    if by:
        low, high = float(by[1]), float(by[2])
        step = float(by[3]) if by[3] else RANGES[name].step
        steps = abs(high - low) / step if 0 < step < 1e300 else MAX_VALUES
        if not steps < MAX_VALUES:
            raise _refused(
                f"{part[:40]!r} is not a range of at most {MAX_VALUES} values; write it as 0.2..0.6 by 0.1."
            )
        sign = 1 if low <= high else -1
        found = [low + sign * i * step for i in range(int(steps + 1e-9) + 1)]
    elif count:
        number, low, high = int(count[1]), float(count[2]), float(count[3])
        if not 2 <= number <= MAX_VALUES:
            raise _refused(f"{part[:40]!r} asks for {number} values; ask for 2 to {MAX_VALUES}.")
        found = [low + (high - low) * i / (number - 1) for i in range(number)]
    elif re.fullmatch(_NUMBER, part, re.IGNORECASE):
        found = [float(part)]
    else:
        raise _refused(f"{part[:40]!r} is not a number for {name}; write 0.2, 0.4 or 0.2..0.6 by 0.1.")
    # Adding zero turns -0 into 0.
    rounded = [round(value, 9) + 0.0 for value in found]
    return [int(value) if whole and value.is_integer() else value for value in rounded]


def _plain(value: float) -> str:
    return f"{value:.2g}"


def _refused(sentence: str) -> BadSetting:
    return BadSetting("axis", sentence)
