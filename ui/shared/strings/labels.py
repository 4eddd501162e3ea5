"""The settings: their labels, help texts, choices and placeholders, and refusals that name them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "Prompt",
        "negative_prompt": "Negative prompt",
        "start": "Init image",
        "start_px": "Entry resolution",
        "start_strength": "Denoising strength",
        "region": "Region to redraw",
        "region_feather": "Region feather",
        "extend": "Extension",
        "loras": "LoRA",
        "target": "Output size",
        "aspect": "Aspect",
        "mixer": "Token mixing",
        "num_inference_steps": "Steps",
        "guidance_scale": "CFG scale",
        "guidance_stop": "CFG until",
        "ladder": "Stage sizes",
        "upscale_strength": "Upscale denoise",
        "gaussian_sigma": "Blur σ",
        "cosine_scale_1": "Skip-residual decay",
        "cosine_scale_2": "Dilated-sampling decay",
        "cosine_scale_3": "Blur decay",
        "keep_base": "Keep base",
        "dilated_min_weight": "Dilated branch cutoff",
        "dilation_scope": "Dilated layers",
        "dilation_use": "Dilated prediction",
        "dilation_until": "Dilate until",
        "tile_share": "Share redrawn",
        "scheduler": "Sampler",
        "original_scale": "Original size (conditioning)",
        "target_scale": "Target size (conditioning)",
        "crop_top": "Crop top (conditioning)",
        "crop_left": "Crop left (conditioning)",
        "refiner": "Refiner",
        "refiner_start": "Refiner takes over at",
        "aesthetic_score": "Aesthetic score",
        "negative_aesthetic_score": "Negative aesthetic score",
        "upscaler": "Upscaler model",
        "noise_level": "x4 noise level",
        "control": "Control",
        "control_type": "Control type",
        "control_image": "Control image",
        "control_scale": "Control weight",
        "control_start": "Control from",
        "control_end": "Control until",
        "freeu_b1": "FreeU b1",
        "freeu_b2": "FreeU b2",
        "freeu_s1": "FreeU s1",
        "freeu_s2": "FreeU s2",
        "seed": "Seed",
        "variation_seed": "Variation seed",
        "variation_strength": "Variation strength",
        "overrides": "Per-stage overrides",
    }
)

HELP: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "What the image should show. (word:1.3) counts more, [word] less; BREAK begins a chunk.",
        "negative_prompt": "What the image should not show.",
        "start": "An image that the cascade upscales, in place of noise.",
        "start_px": "The stage that the init image enters; later stages add detail.",
        "start_strength": "Share of the steps that redraw the init image at its entry; 0 keeps it.",
        "region": "Empty redraws all of the init image. Outside of a region its pixels stay as they are.",
        "region_feather": "Px over which the redrawn region fades in from its edge.",
        "loras": "LoRA files with their weights, by commas; <lora:name:0.8> in the prompt adds to them.",
        "extend": "Percent that is added to the init image at its sides, and drawn there.",
        "target": "Final resolution in px. Earlier stages lead up to it; aspect keeps the area.",
        "aspect": "Width:height, any from 1:4 to 4:1.",
        "mixer": "How tokens exchange information: line scans, full attention, or windows. "
        "Run both compares with GSPN, or GSPN with self-attention, at one seed.",
        "num_inference_steps": "Steps of the first stage; later stages take a share of them.",
        "guidance_scale": "How strongly to follow the prompt. 1 turns guidance off.",
        "guidance_stop": "Share of a stage's steps with guidance; later steps take half the time.",
        "ladder": "Sizes in px between the first and the last stage, e.g. 256 1024; "
        "empty takes the model's own. lanczos:1024 only enlarges, tiles:1024 redraws a share.",
        "upscale_strength": "Noise level at which a later stage starts. Higher redraws more.",
        "gaussian_sigma": "Width in px of the base above which structures are held to the stage before.",
        "cosine_scale_1": "How firmly the layout is held to the stage before: 0 holds it, larger lets go.",
        "cosine_scale_2": "How fast the dilated branch fades: 0 gives it all the weight, 3 turns it off.",
        "cosine_scale_3": "How far the held layout widens to coarse structures only; 0 widens nothing.",
        "keep_base": "Share of the stage before that is restored in the finished image, at its own scale.",
        "dilated_min_weight": "Below this weight the dilated branch is left out, which saves time.",
        "dilation_scope": "Which convolutions are dilated: the down blocks', the deepest ones, or all.",
        "dilation_use": "A second, dilated prediction is mixed in, or the only one is dilated.",
        "dilation_until": "Share of a later stage's steps, the first ones, in which the UNet is dilated.",
        "tile_share": "Share of the image that a tiles: stage redraws, where detail is; the rest enlarged.",
        "scheduler": "Sampler and noise schedule. SDE adds noise at each step.",
        "original_scale": "Original size in SDXL's conditioning, relative to the image.",
        "target_scale": "Target size in SDXL's conditioning, relative to the image.",
        "crop_top": "Crop from the top in SDXL's conditioning, in px.",
        "crop_left": "Crop from the left in SDXL's conditioning, in px.",
        "refiner": "A second model for the first stage: it ends the schedule, or redraws the image.",
        "refiner_start": "Share of the schedule after which the refiner takes over.",
        "aesthetic_score": "Aesthetic score in the refiner's conditioning, 0 to 10.",
        "negative_aesthetic_score": "Aesthetic score in its negative conditioning, 0 to 10.",
        "upscaler": "The model of stages such as esrgan:2048 in the stage sizes.",
        "noise_level": "Noise on what the x4 upscaler reads: more lets it invent more.",
        "control": "A ControlNet or T2I-Adapter, which steers the UNet by an image in every redrawn stage.",
        "control_type": "What the control image shows, for a network that reads several kinds.",
        "control_image": "The image that the control reads, cropped and resized to each stage.",
        "control_scale": "How strongly the control image steers; 0 is none, to the byte.",
        "control_start": "Share of a stage's steps after which the control takes part.",
        "control_end": "Share of a stage's steps up to which the control takes part.",
        "freeu_b1": "Amplifies the features of the deepest up block; 1 leaves them.",
        "freeu_b2": "Amplifies the features of the second up block; 1 leaves them.",
        "freeu_s1": "Weakens the lowest frequencies of the deepest skip connections; 1 leaves them.",
        "freeu_s2": "Weakens the lowest frequencies of the next skip connections; 1 leaves them.",
        "seed": "Empty draws a random seed for each run.",
        "variation_seed": "Another seed, whose noise the first stage takes a share of.",
        "variation_strength": "That share: 0 keeps the seed's image, 1 starts from the other seed's noise.",
        "overrides": "One per line, by the stage's size: any setting of a single stage.",
    }
)

CHOICES: Mapping[str, str] = MappingProxyType(
    {
        "gspn": "GSPN",
        "attention": "Self-attention",
        "neighborhood": "Neighborhood",
        "linear": "Linear",
        "euler": "Euler",
        "euler-karras": "Euler Karras",
        "dpm++2m": "DPM++ 2M",
        "dpm++2m-karras": "DPM++ 2M Karras",
        "dpm++2m-sde": "DPM++ 2M SDE",
        "dpm++2m-sde-karras": "DPM++ 2M SDE Karras",
        "unipc": "UniPC",
        "ddim": "DDIM",
        "lcm": "LCM",
        "tcd": "TCD",
        "none": "None",
        "ensemble": "Ends the schedule",
        "image": "Redraws the end",
        "down": "Down blocks",
        "deep": "Deepest",
        "all": "All blocks",
        "branch": "Second branch",
        "main": "Only prediction",
        "openpose": "Pose",
        "depth": "Depth",
        "scribble": "Soft edges, scribble",
        "canny": "Edges, lines",
        "normal": "Normals",
        "segment": "Segments",
        "tile": "Tile",
        "repaint": "Repaint",
    }
)

PLACEHOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "a picture of …",
        "negative_prompt": "what to avoid (optional)",
        "seed": "random",
        "start": "",
        "control_image": "",
        "ladder": "every doubling",
        "region": "box 250 500 200 120; brush 30 100 100 180 140",
        "extend": "left 25 right 25 top 10",
        "loras": "ink:0.8, snow:0.5",
        "overrides": "1024.upscale_strength=0.3",
    }
)

# A setting's name in a sentence of the core's; within it one that is an everyday word is left alone.
_FIRST_NAME = re.compile(rf"(?:{'|'.join(sorted(LABELS, key=len, reverse=True))})(?!\w)")
_NAME = re.compile(rf"(?<![\w.'])(?:{'|'.join(name for name in LABELS if '_' in name)})(?![\w='])")


def said(sentence: str) -> str:
    """Return a refusal as the page says it: settings by their labels, where programs read their names."""
    first = _FIRST_NAME.match(sentence)
    start, rest = (quoted(first[0]), sentence[first.end() :]) if first else ("", sentence)
    if first and first[0] == "overrides":
        # Per-stage overrides are typed by name, and so the message names them.
        return start + rest
    return start + _NAME.sub(lambda name: quoted(name[0]), rest)


def quoted(name: str) -> str:
    """Return a setting's label, in quotes where it would break a sentence."""
    label = LABELS[name]
    return f"‘{label}’" if re.search("[,·]", label) else label


def choice(value: Any) -> str:
    """Return a setting's value as the form shows it."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)[:40]
    return CHOICES.get(text, text)
