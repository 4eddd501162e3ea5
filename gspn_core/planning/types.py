"""The records that a plan is made from and made of: sizes, model shapes, a machine, stages; all frozen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gspn_core.kinds.kind import StageKind
from gspn_core.planning.timing import StageTiming
from gspn_core.settings import Mixer, SchedulerName, Settings

Residency = Literal["device", "model", "group"]
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


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """Weights that are kept in fewer bits than the rest of their model.

    scheme: what it is asked for with; package: what computes with it. layers, numbers: how many linear layers
    and weights of them there are; kept_bytes: what they take, scales included. by_layer: single layers may
    leave the device and come back.
    """

    scheme: str
    package: str
    layers: int
    numbers: int
    kept_bytes: int
    by_layer: bool = True


@dataclass(frozen=True, kw_only=True)
class UNetShapes:
    """A UNet2DConditionModel in numbers.

    down, up: transformer layers of each block in the order of the forward, 0 where it has none; middle: those
    of the middle block. resnets: of each down block. sample_side: of the latents that it was trained at.
    parameters: how many numbers its weights are; quantized: those of them that are kept in fewer bits.
    """

    channels: tuple[int, ...]
    resnets: tuple[int, ...]
    down: tuple[int, ...]
    middle: int
    up: tuple[int, ...]
    text_tokens: int
    text_channels: int
    sample_side: int
    parameters: int
    latent_channels: int = 4
    quantized: Quantized | None = None

    def weight_bytes(self, element_bytes: int) -> int:
        """Return the bytes of the weights where one that is not quantised takes element_bytes."""
        if self.quantized is None:
            return self.parameters * element_bytes
        return (self.parameters - self.quantized.numbers) * element_bytes + self.quantized.kept_bytes


@dataclass(frozen=True, kw_only=True)
class VAEShapes:
    """An AutoencoderKL in numbers; middle_attention: its middle block attends over all latent pixels."""

    channels: tuple[int, ...]
    resnets: int
    middle_attention: bool
    parameters: int
    latent_channels: int = 4

    @property
    def factor(self) -> int:
        """Return how many px of the picture's side one latent pixel stands for."""
        return 2 ** (len(self.channels) - 1)


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """A whole model in numbers; text_parameters: of both text encoders; adapters: of each mixer's weights.

    refiner: the UNet next to it, None where there is none; preview_parameters: of the small decoder that
    previews are made with, 0 where there is none.
    """

    unet: UNetShapes
    vae: VAEShapes
    text_parameters: int
    adapter_parameters: tuple[tuple[Mixer, int], ...] = ()
    refiner: UNetShapes | None = None
    preview_parameters: int = 0

    def mixer_parameters(self, mixer: Mixer) -> int:
        """Return how many numbers the weights of a mixer are, 0 where it runs on the UNet's own."""
        return dict(self.adapter_parameters).get(mixer, 0)


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """How a stage is computed; the defaults are the fastest.

    All but the last two leave the picture alone. Where weights and skip tensors lie leaves even its bytes
    alone; halves, blocks and chunks may be rounded elsewhere, in its last bits.

    residency: "device" all weights stay there, "model" only the part that works is there, "group" each layer
    comes when it is its turn. small_tiles: how many times the autoencoder's tiles were halved.
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
        """Return the names of the choices that are not the fastest way."""
        return tuple(f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a plan must know of where it will run.

    budget_bytes: the most that a stage may take; base_bytes: what is taken by others than weights and
    the stage (on a CPU the process itself). host_bytes: memory for weights and maps that leave the device, 0
    where the device is the host. element_bytes: of the UNet's and the text encoders' numbers; vae_bytes: of
    the VAE's. transfer: bytes per second between host and device. timings: what stages took here.
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

    base_px: side of the square that the model was trained at; size_multiple: what both sides of its base
    size must be a multiple of; max_target_px: the largest target offered; mixers: the first is the default.
    scheduler, ladder: what settings without one get. upscale_strengths: of single stages, by their px, where
    they differ from upscale_strength. read_words: returns a prompt's words that the model knows and those
    that it cannot know; None where it takes any words. has_refiner: SDXL's second UNet is there.
    fingerprint: changes with the model's files and with what computes with them. shapes: the model in
    numbers, None where they are not known and nothing can be predicted.
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
    examples: tuple[str, ...] = ()
    read_words: Callable[[str], tuple[tuple[str, ...], tuple[str, ...]]] | None = None
    has_refiner: bool = False
    fingerprint: str = ""
    shapes: Shapes | None = None

    @property
    def targets(self) -> tuple[int, ...]:
        """Return the targets in px that the model reaches: its base and every doubling up to the largest."""
        count = int(math.log2(self.max_target_px / self.base_px)) + 1
        return tuple(self.base_px * 2**i for i in range(count))


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage: `steps` of the `num_inference_steps` timesteps at `size`; none where an image is kept.

    kind: what it is; px: the target of which it would be the last stage; ratio: its side against that of the
    stage before, 1 for the first; backbone: the model family that denoises.
    refiner_steps: the last of the steps that run again with the refiner, after the picture is whole.
    scale: how many times the base's side; vae_tile_px: None where the picture is decoded whole.
    settings: the run's settings as this stage reads them, with its own overrides in place.
    key: signature of everything that this stage's picture depends on, the stages before it included: equal
    keys on one machine mean equal bytes.
    choices: how it is computed; calls: how often the UNet is evaluated on the guidance pair. peak_bytes,
    seconds: what it will take, None where that is not known; fits: whether that is within the budget.
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

    @property
    def guided_steps(self) -> int:
        """Return how many steps, the first ones, run both halves of the guidance pair."""
        if self.settings.guidance_scale == 1.0:
            return 0
        return math.ceil(round(self.steps * self.settings.guidance_stop, 6))


@dataclass(frozen=True, kw_only=True)
class CascadePlan:
    """Everything that a run will do; `settings` has no None left in it.

    model, fingerprint: of the card that it was made from. budget_bytes: the memory that it was planned for,
    None where nothing was predicted.
    """

    model: str
    fingerprint: str = ""
    settings: Settings
    stages: tuple[StagePlan, ...]
    notices: tuple[str, ...] = ()
    budget_bytes: int | None = None

    @property
    def size(self) -> Size:
        """Return the last stage's size."""
        return self.stages[-1].size

    @property
    def too_large(self) -> StagePlan | None:
        """Return the first stage that does not fit into the budget, None where all do."""
        return next((stage for stage in self.stages if not stage.fits), None)
