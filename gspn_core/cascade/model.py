"""What a cascade needs of a model: its card, its diffusers pipeline and, where it has one, its adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diffusers import AutoencoderTiny, StableDiffusionXLPipeline, UNet2DConditionModel

from gspn_core.attention.adapter import MixerAdapter
from gspn_core.plan import ModelCard
from gspn_core.settings import Mixer


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded SDXL: the pipeline lends its parts and is itself never called.

    adapters: by the name of the mixer, what this UNet has beside its own attention; ejected. refiner: SDXL's
    second UNet, which reads the second text encoder alone. preview: a small decoder of the same latents.
    """

    card: ModelCard
    pipeline: StableDiffusionXLPipeline
    adapters: Mapping[Mixer, MixerAdapter] = field(default_factory=dict)
    refiner: UNet2DConditionModel | None = None
    preview: AutoencoderTiny | None = None
