"""Predictions of the UNet under classifier-free guidance."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel

from gspn_core.cascade.conditioning import Conditioning


def guided_noise_pred(
    unet: UNet2DConditionModel,
    model_input: torch.Tensor,
    timestep: torch.Tensor,
    conditioning: Conditioning,
    guidance_scale: float,
    *,
    serial: bool = False,
) -> torch.Tensor:
    """Return the guided prediction, float32 (1, 4, h, w): u + g·(p - u), or p alone where g is 1.

    model_input (1, 4, h, w) is already scaled by the scheduler; both halves of the pair run as one batch, or
    one after the other where serial.
    """
    if guidance_scale == 1.0:
        return _noise_pred(unet, model_input, timestep, conditioning.positive_only())
    if serial:
        unconditional = _noise_pred(unet, model_input, timestep, conditioning.negative_only())
        conditional = _noise_pred(unet, model_input, timestep, conditioning.positive_only())
    else:
        unconditional, conditional = _noise_pred(unet, model_input, timestep, conditioning).chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)


def _noise_pred(
    unet: UNet2DConditionModel, model_input: torch.Tensor, timestep: torch.Tensor, rows: Conditioning
) -> torch.Tensor:
    """Return the prediction for every row of the conditioning, float32 (rows, 4, h, w)."""
    return unet(
        model_input.to(unet.dtype).expand(len(rows.prompt_embeds), -1, -1, -1),
        timestep,
        encoder_hidden_states=rows.prompt_embeds,
        added_cond_kwargs={"text_embeds": rows.pooled_prompt_embeds, "time_ids": rows.add_time_ids},
        return_dict=False,
    )[0].float()
