"""The events of a run: frozen records of numbers, strings and CPU pictures, never tensors.

Each event can be pickled, so that a run can be in another process than its followers.
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
    """Memory in bytes, and what it is the memory of.

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
    held: share by which the layout is pulled towards the stage before; layout_px: width of the smallest
    structures that count as layout, in px of the base.
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
    """The first event: the plan.

    model_calls: UNet evaluations of each stage on the guidance pair; half a pair counts half.
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
    """A tile of the autoencoder was encoded or decoded, as `phase` says."""

    stage: int
    phase: Literal["encode", "decode"]
    tile: int
    tiles: int
    seconds: float
    memory: MemorySample


@dataclass(frozen=True, kw_only=True)
class StageDone:
    """A stage ended: its picture, its wall time, and its memory with the peak of the stage.

    processor_seconds: of all cores together, None where a GPU does the work.
    together: how many pictures were drawn at once; both seconds are this one's share.
    """

    stage: StagePlan
    image: Image
    seconds: float
    memory: MemorySample
    processor_seconds: float | None = None
    together: int = 1


@dataclass(frozen=True, kw_only=True)
class PictureDone:
    """The first stage of another seed, drawn together with that of the run; `done.stage` is the run's own."""

    seed: int
    done: StageDone


@dataclass(frozen=True, kw_only=True)
class Retried:
    """Memory ran out in a phase of a stage, which starts again with options that need less.

    choice: the field of `gspn_core.planning.types.MemoryOptions` that changed. plan: the run's plan from
    here on; its finished stages are unchanged.
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
    """Progress of loading a model, outside of any run.

    doing "fetch": part is the name of a download from the Hub; "read": a part of the model on disk.
    """

    doing: Literal["fetch", "read"]
    part: str
    done_bytes: int
    total_bytes: int


Event = PlanReady | StageStarted | StepDone | TileDone | StageDone | PictureDone | Retried | CascadeDone
