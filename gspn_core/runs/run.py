"""A run as one frozen view, and what happens to a run beside the engine's own events: plain records.

`gspn_core.runs.reducer` makes the next view from an event; the page draws the view.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gspn_core.events import MemoryKind, MemorySample, StepWeights
from gspn_core.kinds.kind import StageKind
from gspn_core.kinds.registry import KINDS, find_kind
from gspn_core.planning.types import CascadePlan, MemoryOptions, Phase

JobState = Literal["queued", "running", "done", "stopped", "failed", "interrupted"]
StageState = Literal["waiting", "running", "done", "stopped", "failed"]
Stopping = Literal["now", "after_stage"]

FINAL_STATES: tuple[JobState, ...] = ("done", "stopped", "failed", "interrupted")
# A run that ended in one of these may be taken up again from its last finished stage.
RESUMABLE_STATES: tuple[JobState, ...] = ("stopped", "failed", "interrupted")


@dataclass(frozen=True, kw_only=True)
class StageView:
    """A stage as it stands. seconds is None until it is done, peak_bytes until memory was measured.

    proxy_path: a JPEG of at most 1536 px; tiles_path: the folder of its tiles (see `gspn_core.images.tiles`);
    png_path: the picture in full; each None until it is written.
    calls_done of model_calls evaluations of the UNet on the guidance pair are behind it; after guided_steps
    steps only half of the pair is evaluated, and counts half. The fields after them are kept for the
    estimate of the time left; their seconds count from the stage's start. key: the plan's; reused: an earlier
    run with the same key lent the picture; nothing is measured, and saved_seconds is what it took then.
    digest: of the picture's pixels (see `gspn_core.images.load.digest`), with its PNG. retries: each way of
    saving memory (a field of `gspn_core.planning.types.MemoryOptions`) with which the stage began again.
    predicted_bytes, predicted_seconds: what the plan predicted of it before it ran, where it could.
    kind: the name of its `gspn_core.kinds.kind.StageKind`; "" in records that are older than kinds.
    """

    index: int
    height: int
    width: int
    kind: str = ""
    state: StageState = "waiting"
    step: int = 0
    steps: int = 0
    seconds: float | None = None
    peak_bytes: int | None = None
    memory_kind: MemoryKind | None = None
    proxy_path: str | None = None
    tiles_path: str | None = None
    png_path: str | None = None
    phase: Phase | None = None
    tile: int = 0
    tiles: int = 0
    guided_steps: int = 0
    model_calls: float = 0
    calls_done: float = 0
    first_calls: float = 0
    first_step_seconds: float = 0.0
    last_step_seconds: float = 0.0
    tile_seconds: float = 0.0
    key: str = ""
    reused: bool = False
    saved_seconds: float | None = None
    digest: str | None = None
    retries: tuple[str, ...] = ()
    predicted_bytes: int | None = None
    predicted_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as it stands; `version` grows with every change.

    queue_position: runs that come before it, 0 once it runs or has ended. created: seconds since 1970.
    seed_drawn: the seed was left open by whoever asked for the run.
    stopping: somebody asked the run to stop, at once or after the present stage.
    stage: index of the stage that runs, None between stages and after the end. weights: those of the latest
    later stage. history: (elapsed seconds, bytes) pairs, thinned. preview: a data URI.
    """

    id: str
    created: float
    model: str = ""
    state: JobState = "queued"
    queue_position: int = 0
    stopping: Stopping | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    seed_drawn: bool = False
    stages: tuple[StageView, ...] = ()
    stage: int | None = None
    elapsed_seconds: float = 0.0
    left_seconds: float | None = None
    memory: MemorySample | None = None
    history: tuple[tuple[float, int], ...] = ()
    preview: str | None = None
    weights: tuple[StepWeights, ...] = ()
    error: str | None = None
    version: int = 0

    @property
    def is_final(self) -> bool:
        """Tell whether the run has ended, however it did."""
        return self.state in FINAL_STATES

    def to_dict(self) -> dict[str, Any]:
        """Return the view as JSON-ready names and values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunView:
        """Return the view that `to_dict` wrote; raise TypeError or KeyError if it is none."""
        memory = values["memory"]
        return cls(
            **{
                **values,
                "notices": tuple(values["notices"]),
                "stages": tuple(map(_read_stage, values["stages"])),
                "memory": None if memory is None else MemorySample(**memory),
                "history": tuple((seconds, count) for seconds, count in values["history"]),
                "weights": tuple(StepWeights(**weights) for weights in values["weights"]),
            }
        )


def _read_stage(values: Mapping[str, Any]) -> StageView:
    # What an earlier version called otherwise says nothing to this one.
    known = {choice.name for choice in dataclasses.fields(MemoryOptions)}
    retries = tuple(name for name in values.get("retries", ()) if name in known)
    return StageView(**{**values, "retries": retries})


@dataclass(frozen=True, kw_only=True)
class QueueMoved:
    """A job waits behind `position` others; 0 means that it runs now."""

    position: int


@dataclass(frozen=True, kw_only=True)
class Replanned:
    """A run that was planned before the model was there has its plan; nothing of it has begun."""

    plan: CascadePlan


@dataclass(frozen=True, kw_only=True)
class StopAsked:
    """Somebody asked the run to stop; it will at its next step, or once its present stage is finished."""

    after_stage: bool = False


@dataclass(frozen=True, kw_only=True)
class StageReused:
    """A stage's picture was lent by an earlier run with the same key; the stage is not run again.

    saved_seconds: how long it took when it was made, None where that is not known.
    """

    stage: int
    saved_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class FileWritten:
    """A stage's proxy, its tiles or its picture in full lie on disk; with the latter, the pixels' digest."""

    stage: int
    kind: Literal["proxy", "tiles", "png"]
    path: str
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run ended before its target; error is one sentence, or None where it was stopped on purpose.

    "interrupted": the server ended while the run was waiting or going.
    """

    state: Literal["stopped", "failed", "interrupted"]
    error: str | None = None


JobEvent = QueueMoved | Replanned | StopAsked | StageReused | FileWritten | Ended


def kind_of(stage: StageView) -> StageKind:
    """Return what a stage is; of one whose record names no kind that is known here, what its place says."""
    known = {kind.name for kind in KINDS}
    return find_kind(stage.kind if stage.kind in known else "upscale" if stage.index else "generate")
