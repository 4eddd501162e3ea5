"""The records that a plan is made from and made of: sizes, model shapes, a machine, stages; all frozen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gspn_core.extension import NO_MARGINS, Margins
from gspn_core.kinds.kind import SUPERRES, UPSCALER, X4_PART, StageKind
from gspn_core.kinds.tiles import Tiling
from gspn_core.lora.files import LoraSource, StageLora
from gspn_core.planning.conditions import ConditionFile, StageCondition
from gspn_core.planning.shapes import Shapes
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.upscalers import UpscalerFile
from gspn_core.prompts import TextLength
from gspn_core.settings import Mixer, SchedulerName, Settings

Residency = Literal["device", "model", "group"]
X4_CODING_TILE_PX = 512  # as many latents as SDXL's autoencoder has in 1024 px
Phase = Literal["encode", "steps", "decode"]


@dataclass(frozen=True, order=True)
class Size:
    """A picture's height and width in px, height first."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"

    @property
    def pixels(self) -> int:
        """Return height · width."""
        return self.height * self.width

    def scaled(self, factor: int) -> Size:
        """Return the size with both sides `factor` times as long."""
        return Size(self.height * factor, self.width * factor)

    def extended(self, margins: Margins) -> Size:
        """Return the size of a canvas with `margins` around this."""
        return Size(self.height + margins.top + margins.bottom, self.width + margins.left + margins.right)

    def within(self, margins: Margins) -> Size:
        """Return the size of what is in a canvas of this size with `margins` around it."""
        return Size(self.height - margins.top - margins.bottom, self.width - margins.left - margins.right)


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """How a stage is computed; the defaults are the fastest.

    All but the last two compute the same picture. Where weights and skip tensors are stored does not change
    its bytes; sequential guidance, blocks and chunks may change its last bits.

    Args:
        residency: "device": all weights stay on the device; "model": only the part that computes is there;
            "group": each layer is moved there when it is needed.
        serial_guidance: the two halves of the guidance pair run one after the other.
        chunked_feed_forward: feed-forwards run over chunks of the tokens.
        small_blocks: mixers work on smaller blocks.
        skips_on_host: the UNet's skip tensors wait on the host.
        small_tiles: how many times the autoencoder's tiles are halved.
        float8_storage: the UNet's weights are stored in eight bits.
    """

    residency: Residency = "device"
    serial_guidance: bool = False
    chunked_feed_forward: bool = False
    small_blocks: bool = False
    skips_on_host: bool = False
    small_tiles: int = 0
    float8_storage: bool = False

    @property
    def taken(self) -> tuple[str, ...]:
        """Return the names of the options that differ from the fastest."""
        return tuple(f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a plan needs to know of the machine that it will run on.

    Args:
        device: the kind of device.
        budget_bytes: the most memory that a stage may take.
        base_bytes: memory taken by anything but weights and the stage (on a CPU the process itself).
        host_bytes: memory for offloaded weights and maps, 0 where the device is the host.
        element_bytes: of one number of the UNet and the text encoders.
        vae_bytes: of one number of the VAE.
        transfer: bytes per second between host and device.
        timings: what stages took on this machine.
    """

    device: Literal["cpu", "cuda"]
    budget_bytes: int
    base_bytes: int
    host_bytes: int = 0
    element_bytes: int = 2
    vae_bytes: int = 4
    transfer: float = 12e9
    timings: tuple[StageTiming, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a plan and a page need to know of a model, without loading it.

    Args:
        name: as `load_model` takes it.
        title: as the page shows it.
        description: one sentence for the page.
        base_px: side of the square that the model was trained at.
        size_multiple: both sides of a base size are multiples of this many px.
        max_target_px: the largest target offered.
        default_target_px: the target of settings without one; likewise num_inference_steps, guidance_scale,
            upscale_strength, scheduler and ladder.
        mixers: those that can run; the first is the default.
        upscale_strengths: (px, strength) of the stages that differ from upscale_strength.
        vae_tile_px: larger pictures are encoded and decoded in tiles of this side.
        vocabulary_hint: what to write in a prompt, for messages.
        vocabulary: phrases that the model knows, by what they name; empty if it takes any words.
        examples: prompts.
        read_words: returns the words of a prompt that the model knows and those that it does not; None if
            it takes any words.
        embeds_guidance: its UNet reads the guidance scale, so that one call is enough.
        inpaints: its UNet reads the mask of a region and the picture around it as input channels.
        trailing: it is sampled at the last timesteps of equal parts, as few-step checkpoints are trained.
        has_refiner: a refiner is loaded with it.
        has_superres: it has a super-resolution network.
        upscalers: upscaler models that are given with it, the default first.
        x4: digest of the weights of the x4 upscaler that is given with it, "" for none.
        loras: its LoRA files; None where there is no folder for them.
        conditions: the ControlNets and T2I-Adapters that are given with it; None where no folder is given.
        fingerprint: changes with the model's files and with the options that it is loaded with.
        shapes: its sizes; None if unknown, and then nothing can be predicted.
    """

    name: str
    title: str
    description: str
    base_px: int
    size_multiple: int
    max_target_px: int
    default_target_px: int
    num_inference_steps: int
    guidance_scale: float
    upscale_strength: float
    mixers: tuple[Mixer, ...]
    scheduler: SchedulerName = "euler"
    upscale_strengths: tuple[tuple[int, float], ...] = ()
    ladder: str = ""
    vae_tile_px: int = 1024
    vocabulary_hint: str = ""
    vocabulary: tuple[tuple[str, tuple[str, ...]], ...] = ()
    examples: tuple[str, ...] = ()
    read_words: Callable[[str], tuple[tuple[str, ...], tuple[str, ...]]] | None = None
    embeds_guidance: bool = False
    inpaints: bool = False
    trailing: bool = False
    has_refiner: bool = False
    has_superres: bool = False
    upscalers: tuple[UpscalerFile, ...] = ()
    x4: str = ""
    loras: LoraSource | None = None
    conditions: tuple[ConditionFile, ...] | None = None
    fingerprint: str = ""
    shapes: Shapes | None = None

    @property
    def parts(self) -> frozenset[str]:
        """Return what it has of the parts that only some kinds of stages need."""
        named = (
            ("refiner", self.has_refiner),
            (SUPERRES, self.has_superres),
            (UPSCALER, bool(self.upscalers)),
            (X4_PART, bool(self.x4)),
        )
        return frozenset(name for name, has in named if has)

    def coding_tile_px(self, size: Size, backbone: str) -> int | None:
        """Return the side in px of the autoencoder's tiles of a stage, None where it needs none."""
        side = X4_CODING_TILE_PX if backbone == "x4" else self.vae_tile_px
        return side if max(size.height, size.width) > side else None

    @property
    def targets(self) -> tuple[int, ...]:
        """Return the targets in px that the model reaches: its base and every doubling up to the largest."""
        count = int(math.log2(self.max_target_px / self.base_px)) + 1
        return tuple(self.base_px * 2**i for i in range(count))


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage: `steps` of the `num_inference_steps` timesteps at `size`; none where an image is kept.

    Args:
        index: its place in the cascade, from 0.
        kind: what it does: generate, upscale, keep, …
        size: height and width in px.
        px: the target whose last stage it would be.
        scale: its side over the model's base side.
        num_inference_steps: timesteps of the whole schedule.
        steps: how many of them, the last ones, this stage runs.
        vae_tile_px: side of the autoencoder's tiles; None if the picture is decoded whole.
        settings: the run's settings with the overrides of this stage applied.
        refiner_steps: how many of the last steps run again with the refiner, once the picture is denoised.
        ratio: its side over that of the stage before, 1 for the first.
        backbone: the model family that denoises.
        key: signature of everything that its picture depends on, the stages before it included: equal keys
            on one machine mean equal bytes.
        choices: how it is computed.
        calls: how often the UNet is evaluated on the guidance pair.
        peak_bytes: predicted memory, None if unknown; likewise seconds.
        fits: whether peak_bytes is within the budget.
        embeds_guidance: the model reads the guidance scale.
        inpaints: the model reads a mask and the picture around it.
        margins: px of its size that are added to the init image.
        weights: digest of the weights of a model next to the base that draws it, "" for none.
        together: it is drawn at once with the first stages of other seeds.
        loras: the LoRA files that are fused in it.
        batch_bytes: the predicted peak if 2, 3, … pictures are drawn at once; () where it is one at a time.
        text_chunks: how many times as long as a short prompt's the text is that its UNet reads.
        tiling: the tiles that the UNet draws; None where it draws the whole picture.
        condition: the ControlNet or T2I-Adapter that steers the UNet, None for none.
    """

    index: int
    kind: StageKind
    size: Size
    px: int
    scale: int
    num_inference_steps: int
    steps: int
    vae_tile_px: int | None
    settings: Settings
    refiner_steps: int = 0
    ratio: int = 1
    backbone: str = "sdxl"
    key: str = ""
    choices: MemoryOptions = MemoryOptions()
    calls: int | None = None
    peak_bytes: int | None = None
    seconds: float | None = None
    fits: bool = True
    embeds_guidance: bool = False
    inpaints: bool = False
    margins: Margins = NO_MARGINS
    weights: str = ""
    together: bool = False
    loras: tuple[StageLora, ...] = ()
    batch_bytes: tuple[int, ...] = ()
    text_chunks: int = 1
    tiling: Tiling | None = None
    condition: StageCondition | None = None

    @property
    def samples(self) -> bool:
        """Return whether the model is evaluated in it."""
        return self.kind.denoises and self.steps > 0

    @property
    def drawn_at_once(self) -> Size:
        """Return the size in px of what one evaluation of the UNet draws."""
        return self.size if self.tiling is None else Size(self.tiling.height, self.tiling.width)

    @property
    def evaluations_per_step(self) -> int:
        """Return how many evaluations of the guidance pair a step without controls takes."""
        return 1 if self.tiling is None else self.tiling.drawn

    @property
    def guided_steps(self) -> int:
        """Return how many of the first steps run both halves of the guidance pair."""
        if self.embeds_guidance or self.settings.guidance_scale == 1.0:
            return 0
        return math.ceil(round(self.steps * self.settings.guidance_stop, 6))


@dataclass(frozen=True, kw_only=True)
class CascadePlan:
    """Everything that a run will do; `settings` has no None left in it.

    Args:
        model: the card's name.
        fingerprint: the card's.
        settings: the run's settings.
        stages: in the order in which they run.
        notices: sentences for the user, such as words of the prompt that the model does not know.
        budget_bytes: the memory that it was planned for; None if nothing was predicted.
        texts: how much of each text the model reads; () where no tokenizer counted.
    """

    model: str
    fingerprint: str = ""
    settings: Settings
    stages: tuple[StagePlan, ...]
    notices: tuple[str, ...] = ()
    budget_bytes: int | None = None
    texts: tuple[TextLength, ...] = ()

    @property
    def size(self) -> Size:
        """Return the last stage's size."""
        return self.stages[-1].size

    @property
    def control_image(self) -> str:
        """Return the reference of the picture that a ControlNet or T2I-Adapter reads, "" for none."""
        return next((stage.condition.image for stage in self.stages if stage.condition is not None), "")

    @property
    def pictures(self) -> dict[str, str]:
        """Return the references of the pictures that it needs, by the settings that name them."""
        named = {"start": self.settings.start, "control_image": self.control_image}
        return {name: reference for name, reference in named.items() if reference}

    @property
    def too_large(self) -> StagePlan | None:
        """Return the first stage that does not fit into the budget, None where all do."""
        return next((stage for stage in self.stages if not stage.fits), None)
