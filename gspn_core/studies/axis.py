"""The axes of a parameter study: a setting, and the values that were typed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gspn_core.planning.types import ModelCard
from gspn_core.settings import (
    CHOICES,
    FIELD_NAMES,
    INTEGERS,
    OVERRIDABLE,
    PICTURES,
    RANGES,
    SEEDS,
    Override,
    Settings,
)
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
MOST_AXES = 2
# Settings that can be an axis. Overrides are axes by stage and name; a study has one image of each use.
AXIS_NAMES: tuple[str, ...] = tuple(
    name for name in FIELD_NAMES if name not in (*PICTURES, "region", "extend", "overrides")
)
_LARGEST = 1e15


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
    _check_name(name, card, stage_px)
    return _axis(name, _values(name, text, card), card, stage_px)


def listed_axis(name: str, values: Sequence[Any], card: ModelCard, stage_px: int | None = None) -> Axis:
    """Return the axis of a setting from its values as a record lists them; raise BadSetting("axis").

    Values become what `parse_axis` would make of them; whether a setting can have them is checked with its
    cells.
    """
    _check_name(name, card, stage_px)
    return _axis(name, [_listed(name, value) for value in values], card, stage_px)


def example(name: str, card: ModelCard) -> str:
    """Return an example of the text for a setting's values."""
    if name == "ladder":
        return f"{' '.join(map(str, card.targets))}\n{card.targets[0]}"
    if name == "loras":
        files = () if card.loras is None else card.loras.all()
        lora = next((file.name for file in files if not file.issue), "ink")
        return f"{lora}:0.5\n{lora}:1"
    if name == "control":
        return "\n".join(file.name for file in card.conditions or () if not file.issue) or "canny"
    if name in TEXTS:
        return "one text a line"
    if name in SEEDS:
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


def with_first_values(values: Mapping[str, Any], axes: Sequence[Axis]) -> dict[str, Any]:
    """Return the base of a study from settings by name, in which what an axis gives need not be valid."""
    return {**values, **{axis.name: axis.values[0] for axis in axes if axis.stage_px is None}}


def cells_of(
    settings: Settings, axes: Sequence[Axis], *, most: int = MAX_CELLS
) -> list[tuple[tuple[Any, ...], Settings]]:
    """Return the values and the settings of every cell; the first axis varies slowest.

    Raises BadSetting for a value that is not valid, a repeated axis and more than `most` cells.
    """
    if len({(axis.name, axis.stage_px) for axis in axes}) < len(axes):
        raise refused(f"both axes are {axes[0].name}; choose another setting for one of them.")
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > most:
        raise refused(f"the axes have {count:,} cells, at most {most:,} fit; leave some values out.")
    cells: list[tuple[tuple[Any, ...], Settings]] = [((), settings)]
    for axis in axes:
        cells = [
            ((*values, value), axis.applied(base, value)) for values, base in cells for value in axis.values
        ]
    return cells


def _check_name(name: Any, card: ModelCard, stage_px: Any) -> None:
    if name not in AXIS_NAMES:
        raise refused(f"{str(name)[:40]!r} is not a setting; choose one of {', '.join(AXIS_NAMES)}.")
    is_stage = type(stage_px) is int and name in OVERRIDABLE and stage_px in card.targets
    if stage_px is not None and not is_stage:
        raise refused(
            f"{name} cannot be set for a stage of {str(stage_px)[:40]} px alone; choose all stages."
        )


def _axis(name: str, values: Sequence[Any], card: ModelCard, stage_px: int | None) -> Axis:
    """Return the axis of values that may repeat."""
    if not values:
        raise refused(f"{name} has no values; type some, such as {example(name, card)}.")
    distinct = list(dict.fromkeys(values))
    if len(distinct) > MAX_VALUES:
        raise refused(f"{name} has {len(distinct)} values, at most {MAX_VALUES} fit; leave some out.")
    return Axis(name=name, values=tuple(distinct), stage_px=stage_px)


def _listed(name: str, value: Any) -> Any:
    """Return a listed value as the kind that its setting has."""
    kinds = (int, float) if name in RANGES else str
    if isinstance(value, bool) or not isinstance(value, kinds):
        wanted = "a number" if name in RANGES else "a text"
        raise refused(f"{name} has the value {str(value)[:40]!r}, which is not {wanted}; correct it.")
    if name in INTEGERS:
        return int(value) if isinstance(value, float) and value.is_integer() else value
    # Larger ones fit no setting, and may not fit a float.
    return float(value) if name in RANGES and abs(value) < _LARGEST else value


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
