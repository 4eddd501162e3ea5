"""What a cascade needs of a model: its card, its diffusers pipeline and, where it has one, its adapter."""

from __future__ import annotations

from dataclasses import dataclass

from diffusers import StableDiffusionXLPipeline

from gspn_core.attention.adapter import GSPNAdapter
from gspn_core.plan import ModelCard


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded SDXL: the pipeline lends its parts and is itself never called.

    adapter: the GSPN mixers made for this UNet, ejected; None where the model has attention only.
    """

    card: ModelCard
    pipeline: StableDiffusionXLPipeline
    adapter: GSPNAdapter | None = None
