"""What a backbone is made of: its card, its diffusers pipeline and, where it has one, its adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from diffusers import AutoencoderTiny, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn

from gspn_core.attention.adapter import MixerAdapter
from gspn_core.backbones.conditions import ConditionNetworks
from gspn_core.planning.types import ModelCard
from gspn_core.settings import Mixer
from gspn_core.superres.esrgan import EsrganModels
from gspn_core.superres.upscaler import Upscaler


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model: its pipeline holds the parts and is itself never called.

    Attributes:
        card: what a plan needs to know of it.
        pipeline: diffusers' pipeline.
        family: its backbone's row in `registry.BACKBONES`.
        adapters: ejected mixers that this UNet has besides its own attention, by mixer.
        refiner: SDXL's second UNet, which reads the second text encoder alone.
        preview: a small decoder of the same latents.
        superres: a super-resolution network for its pictures.
        upscalers: upscaler models that were given with it.
        x4: Stable Diffusion's x4 upscaler, a model of its own family.
        conditions: the ControlNets and T2I-Adapters that are given with it.
        others: parts of the other model that share the device.
        device: where it computes, None for where the UNet is; parts may wait on the host.
        notes: sentences for whoever loads it.
    """

    card: ModelCard
    pipeline: StableDiffusionXLPipeline
    family: str = "sdxl"
    adapters: Mapping[Mixer, MixerAdapter] = field(default_factory=dict)
    refiner: UNet2DConditionModel | None = None
    preview: AutoencoderTiny | None = None
    superres: Upscaler | None = None
    upscalers: EsrganModels | None = None
    x4: Model | None = None
    conditions: ConditionNetworks | None = None
    others: tuple[nn.Module, ...] = ()
    device: torch.device | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.device is None:
            object.__setattr__(self, "device", self.pipeline.unet.device)

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """Return the text encoders."""
        second = getattr(self.pipeline, "text_encoder_2", None)
        return (self.pipeline.text_encoder, *(() if second is None else (second,)))

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """Return every part that may move between host and device: all but the small decoder."""
        return (*self.own_parts, *self.others)

    @property
    def own_parts(self) -> tuple[nn.Module, ...]:
        """Return those of this model alone."""
        refiner = () if self.refiner is None else (self.refiner,)
        return (self.pipeline.unet, *refiner, self.pipeline.vae, *self.encoders)

    def with_x4(self, x4: Model) -> Model:
        """Return the model with an x4 upscaler next to it; each counts on the other's parts."""
        upscaler = replace(x4, others=self.own_parts, preview=None)
        return replace(self, x4=upscaler, others=upscaler.own_parts)

    def of(self, backbone: str) -> Model:
        """Return the model that denoises a stage of that family."""
        return self.x4 if backbone == "x4" else self

    def parts_but(self, *left_out: nn.Module) -> tuple[nn.Module, ...]:
        """Return the parts without some of them."""
        return tuple(part for part in self.parts if all(part is not other for other in left_out))
