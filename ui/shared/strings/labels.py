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
        "start": "Starts from",
        "start_px": "Comes in at, px",
        "start_strength": "Redraw",
        "target": "Target, px",
        "aspect": "Aspect",
        "mixer": "Mixer",
        "num_inference_steps": "Steps",
        "guidance_scale": "Guidance",
        "guidance_stop": "Guidance until",
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
        "scheduler": "Scheduler",
        "original_scale": "Original size, told",
        "target_scale": "Target size, told",
        "crop_top": "Crop from the top, told",
        "crop_left": "Crop from the left, told",
        "refiner": "Refiner",
        "refiner_start": "Refiner takes over at",
        "aesthetic_score": "Aesthetic score",
        "negative_aesthetic_score": "Negative aesthetic score",
        "seed": "Seed",
        "overrides": "Single stages' own values",
    }
)

HELP: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "What the picture should show.",
        "negative_prompt": "What it should not show.",
        "start": "A picture that the cascade climbs from, in place of noise.",
        "start_px": "The stage at which the picture comes in; those above it add detail.",
        "start_strength": "Share of the steps drawn again over the picture at the first size; 0 keeps it.",
        "target": "Side of the square with the last stage's area; the stages before it lead up to it.",
        "aspect": "Width:height, any from 1:4 to 4:1.",
        "mixer": "How places see each other: by line scans, by attention to all places, or to near ones.",
        "num_inference_steps": "Steps of the first stage; later stages take a share of them.",
        "guidance_scale": "How hard the prompt pulls; 1 turns guidance off.",
        "guidance_stop": "Share of a stage's steps with guidance; those after it take half the time.",
        "ladder": "Sizes in px between the first and the last stage, e.g. 256 1024; "
        "empty takes the model's own.",
        "upscale_strength": "Noise level at which a later stage starts: higher redraws more.",
        "gaussian_sigma": "Width in px of the base above which structures are held to the stage before.",
        "cosine_scale_1": "How firmly the layout is held to the stage before: 0 holds it, larger lets go.",
        "cosine_scale_2": "How fast the dilated branch fades: 0 gives it all the weight, 3 turns it off.",
        "cosine_scale_3": "How far the held layout widens to coarse structures only; 0 widens nothing.",
        "keep_base": "Share of the stage before that is restored in the finished image, at its own scale.",
        "dilated_min_weight": "Below this weight the dilated branch is left out, which saves time.",
        "dilation_scope": "Which convolutions are dilated: the down blocks', the deepest ones, or all.",
        "dilation_use": "A second, dilated prediction is mixed in, or the only one is dilated.",
        "dilation_until": "Share of a later stage's steps, the first ones, in which the UNet is dilated.",
        "scheduler": "What walks the timesteps; Karras spaces them by noise, SDE adds some at each step.",
        "original_scale": "Size of the original that the model is told, as a part of the picture's own.",
        "target_scale": "Size of the result that the model is told, as a part of the picture's own.",
        "crop_top": "How much the model is told was cut off above, in px.",
        "crop_left": "How much the model is told was cut off on the left, in px.",
        "refiner": "A second model for the first stage: it ends the schedule, or draws its end again.",
        "refiner_start": "Share of the schedule after which the refiner works.",
        "aesthetic_score": "How good a picture the refiner is told to make, 0 to 10.",
        "negative_aesthetic_score": "How good a picture it is told to stay away from, 0 to 10.",
        "seed": "Empty draws a new one for each run.",
        "overrides": "One a line, by the stage's target; any setting of a single stage.",
    }
)

CHOICES: Mapping[str, str] = MappingProxyType(
    {
        "gspn": "GSPN",
        "attention": "Attention",
        "neighborhood": "Neighbourhood",
        "linear": "Linear",
        "euler": "Euler",
        "euler-karras": "Euler Karras",
        "dpm++2m": "DPM++ 2M",
        "dpm++2m-karras": "DPM++ 2M Karras",
        "dpm++2m-sde": "DPM++ 2M SDE",
        "dpm++2m-sde-karras": "DPM++ 2M SDE Karras",
        "unipc": "UniPC",
        "ddim": "DDIM",
        "none": "None",
        "ensemble": "Ends the schedule",
        "image": "Draws the end again",
        "down": "Down blocks",
        "deep": "Deepest blocks",
        "all": "All blocks",
        "branch": "Second branch",
        "main": "Only prediction",
    }
)

PLACEHOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "a picture of …",
        "negative_prompt": "nothing",
        "seed": "random",
        "start": "",
        "ladder": "every doubling",
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
        # Single stages' own values are typed by name, and so are they spoken of.
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
