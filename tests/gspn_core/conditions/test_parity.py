"""ControlNets and T2I-Adapters draw what diffusers' own pipelines draw of the same noise."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)
from PIL import Image

from gspn_core.cascade.sample import stage_generator
from gspn_core.engine import Engine
from gspn_core.images.load import reference_of
from gspn_core.planning.conditions import ConditionFile
from gspn_core.settings import ControlType, Settings


def drawing(width: int = 64, height: int = 64, seed: int = 3) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


ASKED = Settings(
    prompt="a hill under a blue sky",
    negative_prompt="fog",
    seed=1,
    target=64,
    mixer="attention",
    num_inference_steps=3,
    guidance_scale=4.0,
    scheduler="euler",
    control_image=reference_of(drawing()),
    control_scale=0.8,
)


def ours(model, settings: Settings, monkeypatch) -> np.ndarray:
    """Return the sample of the first stage in [0, 1], (H, W, 3)."""
    samples, engine = [], Engine(model)
    blank = Image.new("RGB", (64, 64))
    monkeypatch.setattr("gspn_core.cascade.walk.to_image", lambda sample: samples.append(sample) or blank)
    list(engine.run(engine.plan(settings), previews=False, control_image=drawing()))
    return (samples[0][0].permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1)


def theirs(cls, model, settings: Settings, **options) -> np.ndarray:
    """Return what a pipeline of diffusers draws of the same noise."""
    own = model.pipeline
    names = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")
    parts = {name: getattr(own, name) for name in names}
    network = {name: options.pop(name) for name in ("controlnet", "adapter") if name in options}
    pipeline = cls(**parts, **network)
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        return pipeline(
            prompt=settings.prompt,
            negative_prompt=settings.negative_prompt,
            height=64,
            width=64,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            latents=torch.randn((1, 4, 8, 8), generator=stage_generator(settings.seed, 0)),
            output_type="np",
            **options,
        ).images[0]


def network_of(model, name: str) -> tuple[torch.nn.Module, ConditionFile]:
    file = next(file for file in model.card.conditions if file.name == name)
    return model.conditions.network(file), file


def check(one: np.ndarray, other: np.ndarray, without: np.ndarray) -> None:
    assert other.std() > 0.02
    assert np.abs(one - without).max() > 0.01, "the control changes nothing"
    assert np.abs(one - other).max() < 1e-4


@pytest.fixture
def without(model, monkeypatch):
    return ours(model, dataclasses.replace(ASKED, control_image=""), monkeypatch)


@pytest.mark.parametrize("name", ["controlnet", "controlnet-mid", "controlnet-small"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.3, 0.7)])
def test_a_controlnet(name, start, end, model, without, monkeypatch):
    asked = dataclasses.replace(ASKED, control=name, control_start=start, control_end=end)
    network, _ = network_of(model, name)
    expected = theirs(
        StableDiffusionXLControlNetPipeline,
        model,
        asked,
        controlnet=network,
        image=drawing(),
        controlnet_conditioning_scale=asked.control_scale,
        control_guidance_start=start,
        control_guidance_end=end,
    )
    check(ours(model, asked, monkeypatch), expected, without)


@pytest.mark.parametrize(("name", "kind"), [("controlnet-union", "depth"), ("controlnet-promax", "tile")])
def test_a_controlnet_of_several_kinds_of_pictures(name, kind, model, without, monkeypatch):
    asked = dataclasses.replace(ASKED, control=name, control_type=kind)
    network, _ = network_of(model, name)
    kinds = get_args(ControlType)
    expected = theirs(
        StableDiffusionXLControlNetUnionPipeline,
        model,
        asked,
        controlnet=network,
        control_image=[drawing()],
        control_mode=[kinds.index(kind)],
        controlnet_conditioning_scale=asked.control_scale,
    )
    check(ours(model, asked, monkeypatch), expected, without)


@pytest.mark.parametrize("end", [1.0, 0.7])
def test_a_t2i_adapter(end, model, without, monkeypatch):
    asked = dataclasses.replace(ASKED, control="t2i-adapter", control_end=end)
    network, _ = network_of(model, "t2i-adapter")
    expected = theirs(
        StableDiffusionXLAdapterPipeline,
        model,
        asked,
        adapter=network,
        image=drawing(),
        adapter_conditioning_scale=asked.control_scale,
        adapter_conditioning_factor=end,
    )
    check(ours(model, asked, monkeypatch), expected, without)
