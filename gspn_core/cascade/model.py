"""What a cascade needs of a model: its card, its diffusers pipeline and, where it has one, its adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from diffusers import AutoencoderTiny, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn

from gspn_core.attention.adapter import MixerAdapter
from gspn_core.planning.types import ModelCard
from gspn_core.settings import Mixer


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded SDXL: the pipeline lends its parts and is itself never called.

    adapters: by the name of the mixer, what this UNet has beside its own attention; ejected. refiner: SDXL's
    second UNet, which reads the second text encoder alone. preview: a small decoder of the same latents.
    device: where it computes; parts may lie on the host and come when it is their turn. None for where the
    UNet is. notes: sentences for whoever loads it.
    """

    card: ModelCard
    pipeline: StableDiffusionXLPipeline
    adapters: Mapping[Mixer, MixerAdapter] = field(default_factory=dict)
    refiner: UNet2DConditionModel | None = None
    preview: AutoencoderTiny | None = None
    device: torch.device | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.device is None:
            object.__setattr__(self, "device", self.pipeline.unet.device)

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """Return both text encoders."""
        return self.pipeline.text_encoder, self.pipeline.text_encoder_2

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """Return every part that may change places: all but the small decoder."""
        refiner = () if self.refiner is None else (self.refiner,)
        return (self.pipeline.unet, *refiner, self.pipeline.vae, *self.encoders)

    def parts_but(self, *left_out: nn.Module) -> tuple[nn.Module, ...]:
        """Return the parts without some of them."""
        return tuple(part for part in self.parts if all(part is not other for other in left_out))
