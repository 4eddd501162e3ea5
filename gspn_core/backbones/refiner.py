"""SDXL's refiner: a second UNet for the last noise levels, which reads the second text encoder alone."""

from __future__ import annotations

from dataclasses import replace

from diffusers import UNet2DConditionModel
from torch import Tensor

from gspn_core.backbones.backbone import NO_EXTRA, Extra, NoisePath
from gspn_core.backbones.conditioning import Conditioning, encode_text
from gspn_core.backbones.sdxl import SDXL
from gspn_core.planning.types import StagePlan
from gspn_core.settings import Settings


class Refiner(SDXL):
    """The refiner as a backbone; codec, noise path and call are the base model's."""

    name = "refiner"

    def _net(self) -> UNet2DConditionModel:
        return self.model.refiner

    def read(self, prompt: str, negative_prompt: str) -> Conditioning:
        """Encode both prompts; the refiner was trained with the empty text encoded, never with zeros."""
        return encode_text(
            self.model.pipeline, prompt, negative_prompt, zeros_for_empty=False, device=self.device
        )

    def rows(self, text: Conditioning, stage: StagePlan) -> Conditioning:
        """Return an encoded text as the refiner reads it, with the aesthetic scores of a stage's settings."""
        return text.for_refiner(stage.size, stage.settings, self.net.config.cross_attention_dim)

    def predict(self, model_input: Tensor, t: Tensor, rows: Conditioning, extra: Extra = NO_EXTRA) -> Tensor:
        """Return the UNet's prediction; ControlNets and T2I-Adapters are of the base model's shapes."""
        return super().predict(model_input, t, rows, replace(extra, conditions=()))


def handover_level(settings: Settings, path: NoisePath) -> float:
    """Return the noise level below which the refiner predicts in place of the base model, 0 for never.

    1 - refiner_start, at a whole training timestep.
    """
    if settings.refiner != "ensemble":
        return 0.0
    T = path.num_train_timesteps
    return path.level(round(T * (1 - settings.refiner_start)))
