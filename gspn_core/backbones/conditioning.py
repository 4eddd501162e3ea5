"""SDXL's conditioning: the text, encoded once per run, and the sizes of each stage."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from diffusers import StableDiffusionXLPipeline

from gspn_core.backbones.chunks import count_tokens, encode_chunks, room_of
from gspn_core.planning.types import Size
from gspn_core.prompts import is_weighted
from gspn_core.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """The guidance pair: row 0 unconditional, row 1 conditional (one row alone after `positive_only`).

    prompt_embeds (2, L, D), pooled_prompt_embeds (2, P), add_time_ids (2, 6): original size, crop's top and
    left, target size, all in px and height first (SDXL, 2307.01952, §2.2). timestep_cond (2, E): the guidance
    scale as a UNet with `time_cond_proj_dim` reads it (2210.03142), None for any other.
    """

    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor
    add_time_ids: torch.Tensor
    timestep_cond: torch.Tensor | None = None

    def positive_only(self) -> Conditioning:
        """Return the conditional row alone."""
        return self._row(slice(len(self.prompt_embeds) // 2, None))

    def negative_only(self) -> Conditioning:
        """Return the unconditional row alone."""
        return self._row(slice(len(self.prompt_embeds) // 2))

    def repeated(self, count: int) -> Conditioning:
        """Return each row `count` times: all unconditional ones, then all conditional ones."""
        own = ((field.name, getattr(self, field.name)) for field in fields(self))
        return Conditioning(
            **{name: rows if rows is None else rows.repeat_interleave(count, dim=0) for name, rows in own}
        )

    def _row(self, rows: slice) -> Conditioning:
        return Conditioning(
            prompt_embeds=self.prompt_embeds[rows],
            pooled_prompt_embeds=self.pooled_prompt_embeds[rows],
            add_time_ids=self.add_time_ids[rows],
            timestep_cond=None if self.timestep_cond is None else self.timestep_cond[rows],
        )

    def at_size(self, size: Size, settings: Settings | None = None) -> Conditioning:
        """Return the same text with the original size, crop and target size of a stage's settings.

        Without settings: a picture of the stage's size that was not cropped.
        """
        original = target = (size.height, size.width)
        crop = (0, 0)
        if settings is not None:
            original, target = (
                _scaled_sides(size, s) for s in (settings.original_scale, settings.target_scale)
            )
            crop = (settings.crop_top, settings.crop_left)
        row = self.add_time_ids.new_tensor((*original, *crop, *target))
        return replace(self, add_time_ids=row.expand(len(self.prompt_embeds), -1))

    def at_crop(self, top: int, left: int, size: Size, settings: Settings) -> Conditioning:
        """Return the same rows for a crop of `size` at (top, left) px of the picture.

        The offset is added, the target size is the crop's, the original size stays the picture's (SDXL,
        2307.01952, §2.2).
        """
        target = _scaled_sides(size, settings.target_scale)
        ids = self.add_time_ids.clone()
        ids[:, 2:4] += ids.new_tensor((top, left))
        ids[:, 4:6] = ids.new_tensor(target)
        return replace(self, add_time_ids=ids)

    def for_refiner(self, size: Size, settings: Settings, channels: int) -> Conditioning:
        """Return the text as the refiner reads it: the second encoder's `channels`, and scores."""
        crop = (*_scaled_sides(size, settings.original_scale), settings.crop_top, settings.crop_left)
        scores = (settings.negative_aesthetic_score, settings.aesthetic_score)
        rows = [self.add_time_ids.new_tensor((*crop, score)) for score in scores]
        return replace(
            self, prompt_embeds=self.prompt_embeds[..., -channels:], add_time_ids=torch.stack(rows)
        )


def _scaled_sides(size: Size, scale: float) -> tuple[int, int]:
    return max(1, round(size.height * scale)), max(1, round(size.width * scale))


def encode_text(
    pipeline: StableDiffusionXLPipeline,
    prompt: str,
    negative_prompt: str,
    *,
    zeros_for_empty: bool = True,
    device: torch.device | None = None,
) -> Conditioning:
    """Return both prompts encoded by both text encoders, in the UNet's dtype; sizes are zero.

    A text with weights or more tokens than the encoders read at once goes through them in chunks.

    Args:
        pipeline: its text encoders and tokenizers.
        prompt: the conditional row.
        negative_prompt: the unconditional row.
        zeros_for_empty: a model that was trained so gets zeros for an empty negative prompt.
        device: where the encoders are, None for where the UNet is.
    """
    dtype = pipeline.unet.dtype
    device = pipeline.unet.device if device is None else device
    if any(needs_chunks(pipeline, text) for text in (prompt, negative_prompt)):
        rows, pooled = encode_chunks(pipeline, (negative_prompt, prompt), device)
        if not negative_prompt and zeros_for_empty and pipeline.config.force_zeros_for_empty_prompt:
            rows[0], pooled[0] = 0, 0
        return _without_sizes(rows.to(dtype), pooled.to(dtype))
    embeds, negative, pooled, negative_pooled = pipeline.encode_prompt(
        prompt=prompt,
        negative_prompt=(negative_prompt or None) if zeros_for_empty else negative_prompt,
        device=device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
    )
    return _without_sizes(
        torch.cat([negative, embeds]).to(dtype), torch.cat([negative_pooled, pooled]).to(dtype)
    )


def _without_sizes(embeds: torch.Tensor, pooled: torch.Tensor) -> Conditioning:
    ids = torch.zeros(2, 6, dtype=torch.float32, device=embeds.device)
    return Conditioning(prompt_embeds=embeds, pooled_prompt_embeds=pooled, add_time_ids=ids)


def needs_chunks(pipeline: StableDiffusionXLPipeline, text: str) -> bool:
    """Return whether a text has weights or more tokens than the encoders read at once."""
    return is_weighted(text) or any(
        count_tokens(tokenizer, text) > room_of(tokenizer)
        for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)
    )
