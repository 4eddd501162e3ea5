"""A grid as a JSON file: the base settings and the axes, as `study.json` of a study's export has them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.planning.types import ModelCard
from gspn_core.runs.records import read_json
from gspn_core.settings import Settings
from gspn_core.studies.axis import MOST_AXES, Axis, listed_axis, parse_axis, with_first_values
from gspn_core.studies.study import StudyView

EXAMPLE = '{"base": {"prompt": "a lake"}, "axes": [{"name": "seed", "values": "4 from 7"}]}'
# What a study's record holds besides is of the run that it comes from.
_KEYS = frozenset(field.name for field in dataclasses.fields(StudyView))
_AXIS_KEYS = frozenset(field.name for field in dataclasses.fields(Axis))


@dataclass(frozen=True, kw_only=True)
class GridAsked:
    """A grid that is asked for: its settings but for what the axes give, and its axes."""

    base: Settings
    axes: tuple[Axis, ...]


def read_grid(path: Path, card: ModelCard) -> GridAsked:
    """Read the file of a grid.

    Args:
        path: A JSON file with `base`, settings by name, and `axes`, a list of one or two, each with `name`,
            `values` (a list, or the text that the Lab takes) and, for one stage alone, `stage_px`. What a
            study's record has besides is not read.
        card: Of the model that is to run it.

    Raises:
        BadSetting: The file cannot be read, or is not a valid grid.
    """
    try:
        given = read_json(path)
    except OSError as error:
        raise _refused(f"{path} cannot be read ({error.strerror}); name the file of a grid.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise _refused(f"{path} is not valid JSON ({place}); correct it.") from None
    except (ValueError, RecursionError) as error:
        raise _refused(f"{path} is not valid JSON ({type(error).__name__}); correct it.") from None
    if not isinstance(given, dict) or not {"base", "axes"} <= set(given):
        raise _refused(f"{path} has not both base and axes; write them as in {EXAMPLE}.")
    unknown = sorted(set(given) - _KEYS)
    if unknown:
        raise _refused(f"{path} has {unknown[0][:40]!r}, which no grid has; leave it out.")
    return grid_of(given, card)


def grid_of(given: Mapping[str, Any], card: ModelCard) -> GridAsked:
    """Return the grid of a file's `base` and `axes`; raise BadSetting where they are not valid."""
    base, axes = given["base"], given["axes"]
    if not isinstance(base, Mapping) or not isinstance(axes, list):
        raise _refused(f"base must be settings by name and axes a list; write them as in {EXAMPLE}.")
    if not 1 <= len(axes) <= MOST_AXES:
        raise _refused(f"axes has {len(axes)} axes; give 1 to {MOST_AXES}.")
    read = tuple(_axis(axis, card) for axis in axes)
    return GridAsked(base=Settings.from_dict(with_first_values(base, read)), axes=read)


def _axis(given: Any, card: ModelCard) -> Axis:
    if not isinstance(given, dict) or not {"name", "values"} <= set(given) <= _AXIS_KEYS:
        raise _refused(f"an axis has a name, values and at most a stage_px; write it as in {EXAMPLE}.")
    name, values, stage_px = given["name"], given["values"], given.get("stage_px")
    if isinstance(values, str):
        return parse_axis(name, values, card, stage_px)
    if isinstance(values, list):
        return listed_axis(name, values, card, stage_px)
    raise _refused(f"the values of {str(name)[:40]} must be a list or a text; write them as in {EXAMPLE}.")


def _refused(sentence: str) -> BadSetting:
    return BadSetting("grid", sentence)
