"""Stable Diffusion's x4 upscaler: the UNet reads the small picture along with latents of its size.

    UNet input = [x, √ᾱ(n)·I + √(1 - ᾱ(n))·ε]      4 + 3 channels; n = noise_level is its class label

One text encoder, an autoencoder of factor 4, v-prediction (as published by Stability AI). Large maps go
through the UNet in overlapping tiles, whose predictions are blended in every step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import SchedulerMixin, UNet2DConditionModel
from torch import Tensor

from gspn_core.backbones.backbone import NO_EXTRA, Extra, NoisePath
from gspn_core.backbones.chunks import count_tokens, room_of
from gspn_core.backbones.codec import Autoencoder
from gspn_core.backbones.model import Model
from gspn_core.backbones.noise_path import diffusion_path
from gspn_core.planning.types import CascadePlan, StagePlan
from gspn_core.prompts import is_weighted, plain_text
from gspn_core.superres.tiles import tiled
from gspn_core.tiling import x4_tile_side


@dataclass(frozen=True, kw_only=True)
class TextRows:
    """The guidance pair's text, (2, L, D): row 0 unconditional, row 1 conditional."""

    prompt_embeds: Tensor

    def positive_only(self) -> TextRows:
        """Return the conditional row alone."""
        return TextRows(prompt_embeds=self.prompt_embeds[len(self.prompt_embeds) // 2 :])

    def negative_only(self) -> TextRows:
        """Return the unconditional row alone."""
        return TextRows(prompt_embeds=self.prompt_embeds[: len(self.prompt_embeds) // 2])

    def repeated(self, count: int) -> TextRows:
        """Return each row `count` times: all unconditional ones, then all conditional ones."""
        return TextRows(prompt_embeds=self.prompt_embeds.repeat_interleave(count, dim=0))


class X4Upscaler:
    """The x4 upscaler as a `backbone.Backbone`; its model's pipeline is a StableDiffusionUpscalePipeline."""

    name = "x4"

    def __init__(self, model: Model) -> None:
        self.model, self.device = model, model.device
        self.net: UNet2DConditionModel = model.pipeline.unet
        self.tile = x4_tile_side(self.net.config.sample_size)
        self.between: Callable[[], None] = lambda: None

    def codec(self, tile_px: int | None = None) -> Autoencoder:
        """Return the VAE; pictures larger than tile_px go through it in tiles."""
        return Autoencoder(self.model.pipeline.vae, tile_px)

    def path(self, scheduler: SchedulerMixin) -> NoisePath:
        """Return the diffusion path as a scheduler walks it."""
        return diffusion_path(scheduler)

    def noised(self, sample: Tensor, noise: Tensor, noise_level: int) -> Tensor:
        """Return a small sample, (1, 3, h, w), with noise of that level of its own schedule."""
        level = torch.tensor([noise_level], device=sample.device)
        return self.model.pipeline.low_res_scheduler.add_noise(sample, noise, level)

    def read(self, prompt: str, negative_prompt: str) -> TextRows:
        """Encode both prompts without their weights, as many tokens as the encoder reads at once."""
        embeds, negative = self.model.pipeline.encode_prompt(
            plain_text(prompt), self.device, 1, True, plain_text(negative_prompt)
        )
        return TextRows(prompt_embeds=torch.cat([negative, embeds]).to(self.net.dtype))

    def rows(self, text: TextRows, stage: StagePlan) -> TextRows:  # noqa: ARG002 - the contract's
        """Return the text: the UNet reads no sizes."""
        return text

    def predict(self, model_input: Tensor, t: Tensor, rows: TextRows, extra: Extra = NO_EXTRA) -> Tensor:
        """Return the UNet's prediction for each row, float32 (rows, 4, h, w), in tiles where it is large."""
        B = len(rows.prompt_embeds)
        maps = torch.cat([model_input, extra.channels.to(model_input)], dim=1).to(self.net.dtype)
        labels = extra.class_labels.expand(B)

        def one(tile: Tensor) -> Tensor:
            self.between()
            return self.net(
                tile.expand(B, -1, -1, -1),
                t,
                encoder_hidden_states=rows.prompt_embeds,
                class_labels=labels,
                return_dict=False,
            )[0].float()

        shape = (B, model_input.shape[1], *maps.shape[2:])
        work = tiled(one, maps, shape, self.tile, (1, 1), maps.device)
        while True:
            try:
                next(work)
            except StopIteration as done:
                return done.value


class X4PromptReader:
    """Says what of the prompts is read, with a copy of the tokenizer, so that it can be called in a run."""

    def __init__(self, model: Model) -> None:
        self._tokenizer = copy.deepcopy(model.pipeline.tokenizer)

    def notices(self, plan: CascadePlan) -> tuple[str, ...]:
        """Return a sentence for each text of which the x4 upscaler reads less than the base model."""
        room, notices = room_of(self._tokenizer), []
        for stage in plan.stages:
            if stage.backbone != "x4":
                continue
            texts = {"prompt": stage.settings.prompt, "negative prompt": stage.settings.negative_prompt}
            for name, text in texts.items():
                if count_tokens(self._tokenizer, plain_text(text)) > room:
                    notices.append(f"The x4 upscaler reads the first {room} tokens of the {name}.")
                if is_weighted(text):
                    notices.append(f"The x4 upscaler reads the {name} without its weights.")
        return tuple(dict.fromkeys(notices))
