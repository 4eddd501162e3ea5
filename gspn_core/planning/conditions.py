"""ControlNets and T2I-Adapters next to the base model: what a plan needs to know of them. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from gspn_core.errors import BadSetting
from gspn_core.kinds.kind import CONTROL, StageKind
from gspn_core.planning.shapes import UNetShapes
from gspn_core.settings import ControlType, Settings

if TYPE_CHECKING:
    from gspn_core.planning.types import CascadePlan

ConditionKind = Literal["ControlNet", "ControlNet-Union", "T2I-Adapter"]


@dataclass(frozen=True, kw_only=True)
class ConditionFile:
    """A folder with a network that steers the UNet by a picture.

    Args:
        name: of the folder.
        path: of the folder.
        kind: what it holds.
        issue: why it cannot be used with the model, as the end of a sentence; "" if it can.
        digest: changes with its files.
        parameters: count of its weights.
        shapes: of a ControlNet: its down blocks and its middle block; None for a T2I-Adapter.
        hint_channels: channels of the layers through which a ControlNet reads its picture.
        adapter_channels: channels of a T2I-Adapter's maps, first those with a pixel for each `factor` px.
        factor: side in px of what one pixel of a T2I-Adapter's first map covers.
        types: of how many kinds of pictures a ControlNet-Union knows; 0 for any other.
    """

    name: str
    path: str
    kind: ConditionKind = "ControlNet"
    issue: str = ""
    digest: str = ""
    parameters: int = 0
    shapes: UNetShapes | None = None
    hint_channels: tuple[int, ...] = ()
    adapter_channels: tuple[int, ...] = ()
    factor: int = 8
    types: int = 0


@dataclass(frozen=True, kw_only=True)
class StageCondition:
    """What steers the UNet in a stage.

    Args:
        file: the network.
        image: reference of the picture that it reads.
        scale: what its residuals are multiplied by.
        start: share of the steps after which it takes part; end: up to which.
        type_index: number of the picture's kind, for a ControlNet-Union.
    """

    file: ConditionFile
    image: str
    scale: float
    start: float
    end: float
    type_index: int = 0

    def takes_part(self, i: int, steps: int) -> bool:
        """Return whether it takes part in step i of a stage, counted from 0."""
        return i / steps >= self.start and (i + 1) / steps <= self.end

    def share(self, steps: int) -> float:
        """Return the share of a stage's steps in which it takes part."""
        return sum(self.takes_part(i, steps) for i in range(steps)) / max(1, steps)

    @property
    def record(self) -> tuple[str | float, ...]:
        """Return what a stage's picture depends on."""
        kind = self.type_index if self.file.types else -1
        return self.file.digest, self.image, self.scale, self.start, self.end, kind


def stage_condition(
    kind: StageKind, own: Settings, files: Sequence[ConditionFile], steps: int
) -> StageCondition | None:
    """Return what steers a stage, None where nothing does: no network is named, or its scale is 0.

    Args:
        kind: of the stage.
        own: the stage's settings.
        files: of the model.
        steps: that the base model takes.

    Raises:
        BadSetting: the network is not there or not of this model, it has no picture, or no step is left.
    """
    if not (own.control and kind.reads >= CONTROL):
        return None
    file = _found(own.control, files)
    if not own.control_image:
        raise BadSetting(
            "control_image",
            f"control_image is empty; give the picture that {file.name} reads, or leave control empty.",
        )
    if own.control_start >= own.control_end:
        raise BadSetting(
            "control_end",
            f"control_end is {own.control_end:g} and must be above control_start, {own.control_start:g}; "
            "raise it, or set control_scale to 0.",
        )
    type_index = get_args(ControlType).index(own.control_type)
    if file.types and type_index >= file.types:
        known = ", ".join(get_args(ControlType)[: file.types])
        raise BadSetting(
            "control_type", f"control_type: {file.name} does not read {own.control_type}; it reads {known}."
        )
    if not (own.control_scale and steps):
        return None
    found = StageCondition(
        file=file,
        image=own.control_image,
        scale=own.control_scale,
        start=own.control_start,
        end=own.control_end,
        type_index=type_index,
    )
    if not any(found.takes_part(i, steps) for i in range(steps)):
        raise BadSetting(
            "control_end",
            f"none of the {steps} steps is between control_start, {own.control_start:g}, and control_end, "
            f"{own.control_end:g}; move them apart, or set control_scale to 0.",
        )
    return found


def check_control(settings: Settings, files: Sequence[ConditionFile]) -> None:
    """Raise BadSetting for a picture that no network of a run reads."""
    named = settings.control or any(override.name == "control" for override in settings.overrides)
    if settings.control_image and not named:
        raise BadSetting(
            "control",
            f"control is empty and control_image is given; {_offered(files)}, or leave the image out.",
        )


def condition_notices(plan: CascadePlan) -> tuple[str, ...]:
    """Return a sentence where a plan's refiner runs without its ControlNet or T2I-Adapter."""
    if any(stage.condition is not None and stage.kind.refines(stage.settings) for stage in plan.stages):
        return ("The control steers the base model; the refiner runs without it.",)
    return ()


def _found(name: str, files: Sequence[ConditionFile]) -> ConditionFile:
    known = {file.name: file for file in files}
    file = known.get(name)
    if file is None:
        usable = {file.name.lower(): file.name for file in files if not file.issue}
        near = difflib.get_close_matches(name.lower(), usable, n=2, cutoff=0.5)
        remedy = (
            f"did you mean {' or '.join(usable[key] for key in near)}?" if near else f"{_offered(files)}."
        )
        raise BadSetting("control", f"control: there is no folder {name[:60]} here; {remedy}")
    if file.issue:
        raise BadSetting("control", f"control: {name} {file.issue}; {_offered(files)}.")
    return file


def _offered(files: Sequence[ConditionFile]) -> str:
    usable = [file.name for file in files if not file.issue]
    if not usable:
        return "start with --controls DIR, a folder with ControlNets or T2I-Adapters of SDXL"
    return f"choose {', '.join(usable[:4])}{' or another' if len(usable) > 4 else ''}"
