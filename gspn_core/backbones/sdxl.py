"""SDXL's base model (2307.01952): the UNet with text rows and size conditioning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from diffusers import SchedulerMixin, UNet2DConditionModel
from torch import Tensor

from gspn_core.backbones.backbone import NO_EXTRA, Extra, NoisePath
from gspn_core.backbones.codec import Autoencoder
from gspn_core.backbones.conditioning import Conditioning, encode_text
from gspn_core.backbones.conditions import joined_residuals
from gspn_core.backbones.guidance import guided
from gspn_core.backbones.model import Model
from gspn_core.backbones.noise_path import diffusion_path
from gspn_core.planning.types import StagePlan


class SDXL:
    """SDXL's base model as a `backbone.Backbone`."""

    name = "sdxl"

    def __init__(self, model: Model) -> None:
        self.model, self.device = model, model.device
        self.net = self._net()
        self.between: Callable[[], None] = lambda: None

    def _net(self) -> UNet2DConditionModel:
        return self.model.pipeline.unet

    def codec(self, tile_px: int | None = None) -> Autoencoder:
        """Return the VAE; pictures larger than tile_px go through it in tiles."""
        return Autoencoder(self.model.pipeline.vae, tile_px)

    def path(self, scheduler: SchedulerMixin) -> NoisePath:
        """Return the diffusion path as a scheduler walks it."""
        return diffusion_path(scheduler)

    def read(self, prompt: str, negative_prompt: str) -> Conditioning:
        """Encode both prompts; an empty negative prompt is zeros where the model was trained so."""
        return encode_text(self.model.pipeline, prompt, negative_prompt, device=self.device)

    def rows(self, text: Conditioning, stage: StagePlan) -> Conditioning:
        """Return an encoded text with the sizes and the crop of a stage's settings."""
        rows, width = text.at_size(stage.size, stage.settings), self.net.config.time_cond_proj_dim
        if width is None:
            return rows
        scale = torch.full((len(rows.prompt_embeds),), stage.settings.guidance_scale - 1)
        embedded = self.model.pipeline.get_guidance_scale_embedding(scale, embedding_dim=width)
        return replace(rows, timestep_cond=embedded.to(rows.prompt_embeds))

    def predict(self, model_input: Tensor, t: Tensor, rows: Conditioning, extra: Extra = NO_EXTRA) -> Tensor:
        """Return the UNet's prediction for each row, float32 (rows, 4, h, w)."""
        return noise_pred(self.net, model_input, t, rows, extra)


def noise_pred(
    unet: UNet2DConditionModel, model_input: Tensor, t: Tensor, rows: Conditioning, extra: Extra = NO_EXTRA
) -> Tensor:
    """Return the prediction for every row of the conditioning, float32 (rows, 4, h, w).

    model_input is scaled by the scheduler already: (n, 4, h, w) of n pictures, where n divides the rows.
    """
    B, controlled = len(rows.prompt_embeds), {}
    x = model_input.to(unet.dtype)
    x = x.expand(B, -1, -1, -1) if len(x) == 1 else x.repeat(B // len(x), 1, 1, 1)
    added = joined_residuals(extra.conditions, x, t, rows)
    if extra.channels is not None:
        x = torch.cat([x, _for_rows(extra.channels, x)], dim=1)
    if extra.class_labels is not None:
        controlled["class_labels"] = extra.class_labels.expand(B)
    residuals = tuple(_for_rows(residual, x) for residual in extra.residuals)
    if residuals and added.skips:
        residuals = tuple(map(torch.add, residuals, added.skips))
    if residuals or added.skips:
        *down, mid = residuals or added.skips
        controlled["down_block_additional_residuals"] = tuple(down)
        controlled["mid_block_additional_residual"] = mid
    if added.inside:
        # The UNet takes them off this list.
        controlled["down_intrablock_additional_residuals"] = list(added.inside)
    return unet(
        x,
        t,
        timestep_cond=rows.timestep_cond,
        encoder_hidden_states=rows.prompt_embeds,
        added_cond_kwargs={"text_embeds": rows.pooled_prompt_embeds, "time_ids": rows.add_time_ids},
        return_dict=False,
        **controlled,
    )[0].float()


def _for_rows(maps: Tensor, x: Tensor) -> Tensor:
    """Return maps (1, c, h, w) for each row of x, in its dtype."""
    return maps.to(x.dtype).expand(len(x), -1, -1, -1)


def guided_noise_pred(
    unet: UNet2DConditionModel,
    model_input: Tensor,
    t: Tensor,
    conditioning: Conditioning,
    guidance_scale: float,
    *,
    serial: bool = False,
) -> Tensor:
    """Return a UNet's guided prediction, float32 (1, 4, h, w); see `guidance.guided`."""
    return guided(
        lambda rows: noise_pred(unet, model_input, t, rows), conditioning, guidance_scale, serial=serial
    )
