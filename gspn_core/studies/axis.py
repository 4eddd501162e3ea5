"""The axes of a parameter study: a setting, and the values that were typed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gspn_core.planning.types import ModelCard
from gspn_core.settings import CHOICES, FIELD_NAMES, OVERRIDABLE, RANGES, Override, Settings
from gspn_core.studies.axis_values import (
    MAX_VALUES,
    TEXTS,
    aspects_of,
    choices_of,
    numbers_of,
    refused,
    texts_of,
)

MAX_CELLS = 64
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

    Numbers: "0.2, 0.4, 0.6", "0.2..0.6 by 0.1", "1-5", "1-9 (+2)", "0.1-0.9 [5]", "5 from 0.1 to 0.9"; seeds
    also "4 from 7". choices: names, or "all". Prompts and ladders: one per line, an empty line for the empty
    text.
    """
    if name not in AXIS_NAMES:
        raise refused(f"{str(name)[:40]!r} is not a setting; choose one of {', '.join(AXIS_NAMES)}.")
    if stage_px is not None and (name not in OVERRIDABLE or stage_px not in card.targets):
        raise refused(f"{name} cannot be set for a stage of {stage_px} px alone; choose all stages.")
    values = _values(name, text, card)
    if not values:
        raise refused(f"{name} has no values; type some, such as {example(name, card)}.")
    distinct = list(dict.fromkeys(values))
    if len(distinct) > MAX_VALUES:
        raise refused(f"{name} has {len(distinct)} values, at most {MAX_VALUES} fit; leave some out.")
    return Axis(name=name, values=tuple(distinct), stage_px=stage_px)


def example(name: str, card: ModelCard) -> str:
    """Return an example of the text for a setting's values."""
    if name == "ladder":
        return f"{' '.join(map(str, card.targets))}\n{card.targets[0]}"
    if name in TEXTS:
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
        raise refused(f"both axes are {axes[0].name}; choose another setting for one of them.")
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MAX_CELLS:
        raise refused(f"the axes have {count} cells, at most {MAX_CELLS} fit; leave some values out.")
    cells: list[tuple[tuple[Any, ...], Settings]] = [((), settings)]
    for axis in axes:
        cells = [
            ((*values, value), axis.applied(base, value)) for values, base in cells for value in axis.values
        ]
    return cells


def _values(name: str, text: str, card: ModelCard) -> list[Any]:
    if not isinstance(text, str) or len(text) > 100_000:
        raise refused(f"the values of {name} must be text of at most 100,000 characters; shorten them.")
    if name in TEXTS:
        return texts_of(name, text)
    if name in CHOICES:
        return choices_of(name, text, card)
    if name == "aspect":
        return aspects_of(name, text)
    return numbers_of(name, text, card)


def _plain(value: float) -> str:
    return f"{value:.2g}"
