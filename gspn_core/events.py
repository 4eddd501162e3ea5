"""What a run tells while it goes: frozen records of numbers, strings and CPU pictures; never a tensor.

Each event can be pickled, so that a run may live in another process than its followers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL.Image import Image

from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import CascadePlan, Phase, Size, StagePlan

MemoryKind = Literal["device", "process"]


@dataclass(frozen=True, kw_only=True)
class MemorySample:
    """Memory in bytes, labelled as what it is.

    kind "device": now is what torch has allocated on the GPU, peak its maximum since the stage began,
    reserved what the caching allocator holds. kind "process": now is the resident set of the whole process
    (interpreter, libraries and weights included), peak the largest one sampled since the stage began.
    total: the device's or the machine's memory.
    """

    kind: MemoryKind
    now_bytes: int
    peak_bytes: int
    total_bytes: int
    reserved_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class StepWeights:
    """The cascade's weights at one timestep: skip residual c1, dilated branch c2, blur factor c3.

    dilated: whether the dilated branch is evaluated at this step. sigma: the noise level of the timestep.
    held: by which share the layout is pulled to the stage before; layout_px: above which width of
    structures, in px of the base.
    """

    timestep: float
    c1: float
    c2: float
    c3: float
    dilated: bool
    sigma: float = 0.0
    held: float = 0.0
    layout_px: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PlanReady:
    """The first event: what will be done.

    model_calls: how many times each stage will evaluate the UNet on the guidance pair; on one half of it
    counts half.
    """

    plan: CascadePlan
    model_calls: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class StageStarted:
    """A stage begins; weights has one entry per step, empty for the base stage."""

    stage: StagePlan
    weights: tuple[StepWeights, ...]


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """A step ended. seconds counts from the stage's start; preview is a small picture of the estimate."""

    stage: int
    step: int
    steps: int
    seconds: float
    memory: MemorySample
    preview: Image | None = None


@dataclass(frozen=True, kw_only=True)
class TileDone:
    """A tile of the autoencoder ended; phase tells which way it went."""

    stage: int
    phase: Literal["encode", "decode"]
    tile: int
    tiles: int
    seconds: float
    memory: MemorySample


@dataclass(frozen=True, kw_only=True)
class StageDone:
    """A stage ended: its picture in full, its wall time and its memory with the peak of the stage."""

    stage: StagePlan
    image: Image
    seconds: float
    memory: MemorySample


@dataclass(frozen=True, kw_only=True)
class Retried:
    """Memory ran out in a phase of a stage, which begins again in a way that needs less.

    choice: the field of `gspn_core.planning.types.MemoryOptions` that changed. plan: the run's plan from
    here on; the finished stages are as they were.
    """

    stage: int
    phase: Phase
    choice: str
    plan: CascadePlan


@dataclass(frozen=True, kw_only=True)
class CascadeDone:
    """The last event of a run that reached its target."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class StageTimed:
    """A stage was measured outside of any run."""

    timing: StageTiming


@dataclass(frozen=True, kw_only=True)
class StageNotTimed:
    """A measurement outside of any run was discarded, as other programs kept the machine busy."""

    size: Size


@dataclass(frozen=True, kw_only=True)
class ModelProgress:
    """How far the reading of a model is, outside of any run.

    doing "fetch": part is the name of what comes from the Hub; "read": a part of the model from disk.
    """

    doing: Literal["fetch", "read"]
    part: str
    done_bytes: int
    total_bytes: int


Event = PlanReady | StageStarted | StepDone | TileDone | StageDone | Retried | CascadeDone
