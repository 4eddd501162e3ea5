"""A run as one frozen view, and the events of a run that do not come from the engine: plain records.

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
# A run that ended in one of these can be resumed from its last finished stage.
RESUMABLE_STATES: tuple[JobState, ...] = ("stopped", "failed", "interrupted")


@dataclass(frozen=True, kw_only=True)
class StageView:
    """The state of a stage.

    Args:
        index: its place in the cascade, from 0; height and width in px.
        kind: the name of its `gspn_core.kinds.kind.StageKind`; "" in records from before there were kinds.
        state: of the stage.
        step, steps: denoising steps done, and in all.
        seconds: wall time; None until it is done.
        peak_bytes: None until memory was measured; memory_kind says of what.
        proxy_path: a JPEG of at most 1536 px, None until it is written.
        tiles_path: the folder of its tiles (see `gspn_core.images.tiles`), None until they are written.
        png_path: the picture, None until it is written.
        phase, tile, tiles: what it is doing, and the tiles done of the autoencoder.
        guided_steps: steps after these evaluate half of the guidance pair, which counts half.
        model_calls: UNet evaluations of the whole stage; calls_done: those done.
        first_calls, first_step_seconds, last_step_seconds, tile_seconds: for the estimate of the time left;
            seconds from the stage's start.
        key: the plan's.
        reused: the picture is from an earlier run with the same key; nothing is measured.
        saved_seconds: how long a reused stage took when it was computed.
        processor_seconds: of all cores together, when it was computed; None if unknown or on a GPU.
        digest: of the picture's pixels (see `gspn_core.images.load.digest`), set with its PNG.
        retries: the memory options (fields of `gspn_core.planning.types.MemoryOptions`) with which the stage
            started again.
        predicted_bytes, predicted_seconds: the plan's prediction, None if there was none.
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
    processor_seconds: float | None = None
    digest: str | None = None
    retries: tuple[str, ...] = ()
    predicted_bytes: int | None = None
    predicted_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunView:
    """The state of a run; `version` increases with every change.

    Args:
        id: of the run.
        created: seconds since 1970.
        model: the card's name.
        state: of the run.
        queue_position: runs ahead of it, 0 once it runs or has ended.
        stopping: it was asked to stop, at once or after the current stage.
        settings: resolved settings by name.
        notices: sentences for the user.
        seed_drawn: the seed was drawn, since the settings left it open.
        stages: of the plan.
        stage: index of the running stage, None between stages and after the end.
        elapsed_seconds: since it began; left_seconds: estimate, None if unknown.
        memory: the latest sample; history: (elapsed seconds, bytes), thinned.
        preview: a small picture as a data URI.
        weights: of each step of the latest stage that has any.
        error: one sentence, if it failed.
        batch: name of the batch (see `gspn_core.runs.batch`) that it is a picture of, or goes on from.
        picture: its number in the batch from 1, 0 for a run that is not one of its pictures.
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
    batch: str = ""
    picture: int = 0
    version: int = 0

    @property
    def is_final(self) -> bool:
        """Return whether the run has ended, for whatever reason."""
        return self.state in FINAL_STATES

    def to_dict(self) -> dict[str, Any]:
        """Return the view as JSON-ready names and values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunView:
        """Return the view that `to_dict` wrote; raise TypeError or KeyError for anything else."""
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
    # Names from earlier versions are dropped.
    known = {choice.name for choice in dataclasses.fields(MemoryOptions)}
    retries = tuple(name for name in values.get("retries", ()) if name in known)
    return StageView(**{**values, "retries": retries})


@dataclass(frozen=True, kw_only=True)
class QueueMoved:
    """A job waits behind `position` others; 0 means that it runs now."""

    position: int


@dataclass(frozen=True, kw_only=True)
class Replanned:
    """A run was planned again now that the model is loaded; it has not started yet."""

    plan: CascadePlan


@dataclass(frozen=True, kw_only=True)
class StopAsked:
    """The run was asked to stop; it will at its next step, or once its current stage is finished."""

    after_stage: bool = False


@dataclass(frozen=True, kw_only=True)
class StageReused:
    """A stage's picture was taken from an earlier run with the same key; the stage is not run again.

    saved_seconds: how long it took when it was computed, None if unknown; likewise processor_seconds.
    """

    stage: int
    saved_seconds: float | None = None
    processor_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class FileWritten:
    """A stage's proxy, tiles or PNG were written; with the PNG comes the digest of its pixels."""

    stage: int
    kind: Literal["proxy", "tiles", "png"]
    path: str
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run ended before its target; error is one sentence, None if it was stopped on purpose.

    "interrupted": the server ended while the run waited or ran.
    """

    state: Literal["stopped", "failed", "interrupted"]
    error: str | None = None


JobEvent = QueueMoved | Replanned | StopAsked | StageReused | FileWritten | Ended


def kind_of(stage: StageView) -> StageKind:
    """Return the kind of a stage; if its record names no known kind, that of its place in the cascade."""
    known = {kind.name for kind in KINDS}
    return find_kind(stage.kind if stage.kind in known else "upscale" if stage.index else "generate")
