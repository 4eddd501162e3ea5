"""FreeU: diffusers' own pipeline, what is restored, and that all values at 1 are a run without."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from gspn_core.cascade.sample import stage_generator
from gspn_core.controls.freeu import weighed
from gspn_core.engine import Engine
from gspn_core.errors import BadSetting
from gspn_core.events import StageDone
from gspn_core.settings import Settings, parse_overrides

VALUES = {"freeu_b1": 1.3, "freeu_b2": 1.4, "freeu_s1": 0.9, "freeu_s2": 0.2}
PLAIN = Settings(
    prompt="a hill", seed=1, target=64, mixer="attention", num_inference_steps=3, scheduler="euler"
)
ASKED = dataclasses.replace(PLAIN, **VALUES)


def drawn(engine: Engine, settings: Settings) -> list[Image.Image]:
    events = engine.run(engine.plan(settings), previews=False)
    return [event.image for event in events if isinstance(event, StageDone)]


def test_it_draws_what_diffusers_own_pipeline_draws(tiny_model, monkeypatch):
    samples, pipeline = [], tiny_model.pipeline
    blank = Image.new("RGB", (64, 64))
    monkeypatch.setattr("gspn_core.cascade.walk.to_image", lambda sample: samples.append(sample) or blank)
    for settings in (ASKED, PLAIN):
        drawn(Engine(tiny_model), settings)
    ours, without = (one[0].permute(1, 2, 0).numpy().clip(-1, 1) / 2 + 0.5 for one in samples)
    pipeline.enable_freeu(**{name.removeprefix("freeu_"): value for name, value in VALUES.items()})
    try:
        with torch.inference_mode():
            theirs = pipeline(
                prompt=ASKED.prompt,
                height=64,
                width=64,
                num_inference_steps=3,
                guidance_scale=tiny_model.card.guidance_scale,
                latents=torch.randn((1, 4, 8, 8), generator=stage_generator(1, 0)),
                output_type="np",
            ).images[0]
    finally:
        pipeline.disable_freeu()
        for block in pipeline.unet.up_blocks:
            for name in ("b1", "b2", "s1", "s2"):
                delattr(block, name)
    assert np.abs(ours - without).max() > 0.01
    assert np.abs(ours - theirs).max() < 1e-4


def test_the_unet_is_left_as_it_was_found(tiny_pipeline):
    unet = tiny_pipeline.unet
    unet.up_blocks[0].b1 = 1.1
    before = [dict(vars(block)) for block in unet.up_blocks]
    try:
        with pytest.raises(ZeroDivisionError), weighed(unet, VALUES):
            assert (unet.up_blocks[0].b1, unet.up_blocks[2].s2) == (1.3, 0.2)
            raise ZeroDivisionError
        assert [dict(vars(block)) for block in unet.up_blocks] == before
    finally:
        del unet.up_blocks[0].b1


def test_all_at_1_is_a_run_without_and_each_value_changes_picture_and_key(tiny_model):
    engine = Engine(tiny_model)
    key, first = engine.plan(PLAIN).stages[0].key, drawn(engine, PLAIN)
    keys = {key}
    for name, value in VALUES.items():
        other = dataclasses.replace(PLAIN, **{name: value})
        keys.add(engine.plan(other).stages[0].key)
        assert drawn(engine, other) != first, name
    assert len(keys) == 5
    assert drawn(engine, dataclasses.replace(ASKED, **dict.fromkeys(VALUES, 1))) == first


def test_a_stage_may_have_its_own_and_one_of_another_kind_has_none(tiny_model):
    engine = Engine(tiny_model)
    asked = dataclasses.replace(
        PLAIN, target=128, upscale_strength=0.5, overrides=parse_overrides("128.freeu_b1=1.5")
    )
    without = dataclasses.replace(asked, overrides=())
    (base, last), (same, other) = drawn(engine, asked), drawn(engine, without)
    assert base == same and last != other
    with pytest.raises(BadSetting, match=r"lanczos\) has no freeu_b1"):
        engine.plan(dataclasses.replace(asked, ladder="lanczos:128"))
    with pytest.raises(BadSetting, match=r"freeu_b1 must be a number from 1 to 1.6, got 2; try 1.6"):
        dataclasses.replace(PLAIN, freeu_b1=2)


def test_the_refiner_keeps_its_features(tiny_model, monkeypatch):
    seen = []
    refiner = tiny_model.refiner
    forward = type(refiner).forward

    def watched(self, *args, **kwargs):
        seen.append((self is refiner, getattr(self.up_blocks[0], "b1", None)))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(refiner), "forward", watched)
    drawn(Engine(tiny_model), dataclasses.replace(ASKED, refiner="ensemble", refiner_start=0.5))
    assert {value for own, value in seen if own} == {None}
    assert {value for own, value in seen if not own} == {1.3}
