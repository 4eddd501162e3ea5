"""SDXL's conditioning: the text, encoded once per run, and the sizes of each stage."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from diffusers import StableDiffusionXLPipeline

from gspn_core.planning.types import Size
from gspn_core.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """The guidance pair: row 0 unconditional, row 1 conditional (row 0 alone after `positive_only`).

    prompt_embeds (2, L, D), pooled_prompt_embeds (2, P), add_time_ids (2, 6): original size, crop's top and
    left, target size, all in px and height first (SDXL, 2307.01952, §2.2).
    """

    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor
    add_time_ids: torch.Tensor

    def positive_only(self) -> Conditioning:
        """Return the conditional row alone."""
        return Conditioning(
            prompt_embeds=self.prompt_embeds[1:],
            pooled_prompt_embeds=self.pooled_prompt_embeds[1:],
            add_time_ids=self.add_time_ids[1:],
        )

    def negative_only(self) -> Conditioning:
        """Return the unconditional row alone."""
        return Conditioning(
            prompt_embeds=self.prompt_embeds[:1],
            pooled_prompt_embeds=self.pooled_prompt_embeds[:1],
            add_time_ids=self.add_time_ids[:1],
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

    Args:
        pipeline: its text encoders and tokenizers.
        prompt: the conditional row.
        negative_prompt: the unconditional row.
        zeros_for_empty: a model that was trained so gets zeros for an empty negative prompt.
        device: where the encoders are, None for where the UNet is.
    """
    dtype = pipeline.unet.dtype
    device = pipeline.unet.device if device is None else device
    embeds, negative, pooled, negative_pooled = pipeline.encode_prompt(
        prompt=prompt,
        negative_prompt=(negative_prompt or None) if zeros_for_empty else negative_prompt,
        device=device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
    )
    return Conditioning(
        prompt_embeds=torch.cat([negative, embeds]).to(dtype),
        pooled_prompt_embeds=torch.cat([negative_pooled, pooled]).to(dtype),
        add_time_ids=torch.zeros(2, 6, dtype=torch.float32, device=device),
    )


def truncation_notices(pipeline: StableDiffusionXLPipeline, settings: Settings) -> tuple[str, ...]:
    """Return a sentence for each text that has more tokens than the text encoders read.

    These are the prompt, the negative prompt, and what takes their place in single stages.
    """
    texts = {"prompt": settings.prompt, "negative prompt": settings.negative_prompt}
    for override in settings.overrides:
        if override.name in ("prompt", "negative_prompt"):
            texts[f"{override.name.replace('_', ' ')} at {override.stage_px} px"] = override.value
    found = (truncation_notice(pipeline, text, name) for name, text in texts.items())
    return tuple(notice for notice in found if notice is not None)


def truncation_notice(pipeline: StableDiffusionXLPipeline, prompt: str, name: str = "prompt") -> str | None:
    """Return one sentence if a text has more tokens than the text encoders read, else None."""
    tokenizer = pipeline.tokenizer
    room = tokenizer.model_max_length - 2
    count = len(tokenizer(prompt, truncation=False, add_special_tokens=False, verbose=False).input_ids)
    if count <= room:
        return None
    return f"The {name} has {count} tokens and the model reads the first {room}; the rest has no effect."
