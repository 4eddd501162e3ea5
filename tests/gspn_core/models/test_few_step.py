"""Few-step checkpoints: recognised, sampled as they were trained, equal to diffusers' own pipeline."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch
from diffusers import EulerDiscreteScheduler, LCMScheduler, StableDiffusionXLPipeline, TCDScheduler
from diffusers import UNet2DConditionModel as UNet

from gspn_core.backbones.model import Model
from gspn_core.backbones.registry import make_backbone
from gspn_core.cascade.sample import StageSampler, stage_generator
from gspn_core.engine import Engine
from gspn_core.errors import ModelUnavailable
from gspn_core.events import StageDone
from gspn_core.models.catalog import find_card
from gspn_core.models.few_step import few_step_values
from gspn_core.models.loading import load_model
from gspn_core.planning.plan import make_plan
from gspn_core.settings import Settings

EULER = {"_class_name": "EulerDiscreteScheduler"}


@pytest.mark.parametrize(
    ("name", "steps", "sampler"),
    [
        ("sdxl-turbo", 4, "euler"),
        ("sd_xl_turbo_1.0_fp16", 4, "euler"),
        ("sdxl_lightning_4step", 4, "euler"),
        ("sdxl_lightning_8step_unet", 8, "euler"),
        ("DreamShaperXL_Lightning", 4, "euler"),
        ("dreamshaperXLTurbo", 4, "euler"),
        ("Hyper-SDXL-2steps", 2, "euler"),
        ("Hyper-SDXL-8-step", 8, "euler"),
        ("my-lcm-mix", 4, "lcm"),
        ("tcd_sdxl_4_steps", 4, "tcd"),
        ("lightning-400steps", 4, "euler"),
    ],
)
def test_a_name_tells_steps_and_sampler(name, steps, sampler):
    found = few_step_values(name, EULER, {})
    assert found["num_inference_steps"] == steps and found["scheduler"] == sampler
    assert found["guidance_scale"] == 1.0 and found["trailing"] and not found["embeds_guidance"]


@pytest.mark.parametrize("name", ["sdxl-base", "turbocharged", "calcmodel", "thyperion", "50steps", ""])
def test_other_names_tell_nothing(name):
    assert few_step_values(name, EULER, {}) == {}


def test_the_configuration_tells_what_the_name_does_not():
    assert few_step_values("mix", {"_class_name": "TCDScheduler"}, {})["scheduler"] == "tcd"
    found = few_step_values("mix", EULER, {"time_cond_proj_dim": 256})
    assert found["scheduler"] == "lcm" and found["embeds_guidance"] and found["guidance_scale"] == 8.0


@pytest.fixture
def folder(tiny_pipeline, tmp_path):
    path = tmp_path / "tiny-lightning-4step"
    tiny_pipeline.save_pretrained(path)
    return path


def test_a_folder_of_that_name_is_loaded_with_its_spacing_and_defaults(folder):
    card = find_card(str(folder))
    assert (card.num_inference_steps, card.guidance_scale, card.scheduler) == (4, 1.0, "euler")
    model = load_model(str(folder), dtype="float32")
    assert model.pipeline.scheduler.config.timestep_spacing == "trailing"
    plan = Engine(model).plan(Settings(prompt="a hill", seed=1, target=64))
    sampler = StageSampler(model, plan.stages[0], rows_of(model, plan))
    assert sampler.timesteps.tolist() == [999, 749, 499, 249]
    plain = folder.with_name("tiny")
    shutil.copytree(folder, plain)
    assert load_model(str(plain), dtype="float32").pipeline.scheduler.config.timestep_spacing == "leading"


@pytest.mark.parametrize("kind", ["FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler", None])
def test_a_scheduler_of_another_kind_is_refused(kind, folder):
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": kind}))
    with pytest.raises(ModelUnavailable, match="is not known here; give an SDXL model"):
        find_card(str(folder))


def reading_guidance(pipeline: StableDiffusionXLPipeline) -> UNet:
    """Return a UNet of random weights that reads the guidance scale."""
    config = {name: value for name, value in pipeline.unet.config.items() if name != "_use_default_values"}
    return UNet.from_config({**config, "time_cond_proj_dim": 32}).eval().requires_grad_(False)


def rows_of(model: Model, plan):
    backbone = make_backbone(model)
    own = plan.stages[0].settings
    return backbone.rows(backbone.read(own.prompt, own.negative_prompt), plan.stages[0])


def latents_here(model: Model, asked: Settings) -> torch.Tensor:
    plan = make_plan(asked, model.card)
    work = StageSampler(model, plan.stages[0], rows_of(model, plan)).sample(None)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value


def latents_of_diffusers(pipeline: StableDiffusionXLPipeline, asked: Settings) -> torch.Tensor:
    # The pipeline's own eta, 0, is that of DDIM; TCD's is 0.3.
    generator = stage_generator(asked.seed, 0)
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        asked.prompt, height=64, width=64, num_inference_steps=asked.num_inference_steps,
        guidance_scale=asked.guidance_scale, generator=generator, latents=noise, output_type="latent",
        eta=0.3 if asked.scheduler == "tcd" else 0.0,
    ).images  # fmt: skip


@pytest.mark.parametrize(
    ("scheduler", "name", "embeds", "guidance"),
    [
        (EulerDiscreteScheduler, "euler", False, 1.0),
        (LCMScheduler, "lcm", False, 1.0),
        (LCMScheduler, "lcm", True, 8.0),
        (TCDScheduler, "tcd", False, 1.0),
    ],
)
def test_latents_are_those_of_diffusers_own_pipeline(
    scheduler, name, embeds, guidance, tiny_pipeline, tiny_card
):
    torch.manual_seed(5)
    unet = tiny_pipeline.unet
    if embeds:
        unet = reading_guidance(tiny_pipeline)
    config = {**tiny_pipeline.scheduler.config, "timestep_spacing": "trailing"}
    parts = {**tiny_pipeline.components, "unet": unet}
    theirs = StableDiffusionXLPipeline(
        **{**parts, "scheduler": scheduler.from_config(config)}, add_watermarker=False
    )
    ours = StableDiffusionXLPipeline(
        **{**parts, "scheduler": EulerDiscreteScheduler.from_config(config)}, add_watermarker=False
    )
    card = dataclasses.replace(tiny_card, embeds_guidance=embeds, mixers=("attention",))
    model = Model(card=card, pipeline=ours)
    asked = Settings(
        prompt="a hill", seed=11, target=64, num_inference_steps=4, guidance_scale=guidance,
        scheduler=name, mixer="attention",
    )  # fmt: skip
    with torch.inference_mode():
        found, wanted = latents_here(model, asked), latents_of_diffusers(theirs, asked)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    other = dataclasses.replace(asked, guidance_scale=2.0)
    if embeds:
        with torch.inference_mode():
            assert not torch.allclose(latents_here(model, other), found, atol=1e-4)
        assert make_plan(asked, card).stages[0].guided_steps == 0


def test_an_lcm_that_reads_the_guidance_scale_upscales(tiny_pipeline, tiny_card):
    torch.manual_seed(5)
    parts = {**tiny_pipeline.components, "unet": reading_guidance(tiny_pipeline)}
    pipeline = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    card = dataclasses.replace(tiny_card, embeds_guidance=True, mixers=("attention",), scheduler="lcm")
    engine = Engine(Model(card=card, pipeline=pipeline))
    plan = engine.plan(Settings(prompt="a hill", seed=1, num_inference_steps=2))
    images = [event.image for event in engine.run(plan) if isinstance(event, StageDone)]
    assert [image.size for image in images] == [(64, 64), (128, 128)]
