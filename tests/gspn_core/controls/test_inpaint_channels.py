"""A UNet of 9 input channels is given mask and masked picture as by diffusers' own pipeline."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLInpaintPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from safetensors.torch import save_file

from gspn_core.cascade.sample import StageSampler, stage_generator
from gspn_core.cascade.schedule import make_scheduler, set_last_timesteps
from gspn_core.cli.models import main
from gspn_core.controls.inpaint_channels import InpaintChannels
from gspn_core.engine import Engine
from gspn_core.errors import ModelUnavailable
from gspn_core.images.load import reference_of
from gspn_core.models.catalog import Extras, find_card, local_models
from gspn_core.models.layout import LAYOUTS, inpainting
from gspn_core.models.loading import load_model
from gspn_core.models.random_weights import write_random_model, write_random_refiner
from gspn_core.planning.plan import make_plan, work_of
from gspn_core.region import parse_region
from gspn_core.settings import Settings
from tests.gspn_core.cascade.test_start import photograph, pictures, run
from tests.gspn_core.models.original_layout import original_tensors

BOX = "box 250 250 500 500"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder in the layout of the published inpainting checkpoint, small and of random weights."""
    folder = tmp_path_factory.mktemp("models") / "inpainting"
    assert main(["random", str(folder), "--size", "small", "--inpainting"]) == 0
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load_model(str(folder), device="cpu", dtype="float32")


@pytest.fixture
def engine(model):
    return Engine(model)


@pytest.fixture
def latents(monkeypatch):
    """Return what collects the latents that each stage ends with."""
    found, original = [], StageSampler.sample

    def sample(self, z_ref, controls, *others):
        made = yield from original(self, z_ref, controls, *others)
        found.append(made.clone())
        return made

    monkeypatch.setattr(StageSampler, "sample", sample)
    return found


def asked(**values) -> Settings:
    usual = {
        "prompt": "a hill", "target": 64, "seed": 11, "num_inference_steps": 10, "guidance_scale": 4.0,
        "scheduler": "euler", "mixer": "attention",
    }  # fmt: skip
    return Settings(**{**usual, **values})


def redrawn(start: Image.Image, **values) -> Settings:
    return asked(**{"start": reference_of(start), "region": BOX, "start_strength": 0.8, **values})


def last_steps(stage, config, device):
    scheduler = make_scheduler(stage.settings.scheduler, config)
    return scheduler, set_last_timesteps(scheduler, stage.num_inference_steps, stage.steps, device)


@torch.inference_mode()
def latents_of_diffusers(model, settings: Settings, image: Image.Image, mask: Image.Image, strength: float):
    parts = {name: part for name, part in model.pipeline.components.items() if part is not None}
    scheduler = EulerDiscreteScheduler.from_config(model.pipeline.scheduler.config)
    pipeline = StableDiffusionXLInpaintPipeline(**{**parts, "scheduler": scheduler}, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        settings.prompt, image=image, mask_image=mask, height=image.height, width=image.width,
        strength=strength, num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale, generator=stage_generator(settings.seed, 0),
        output_type="latent",
    ).images  # fmt: skip


@pytest.mark.parametrize("region", [BOX, "brush 90 200 300 800 700", f"outside; {BOX}"])
@pytest.mark.parametrize(("height", "width", "target"), [(64, 64, 64), (96, 160, 128)])
def test_latents_of_a_region_are_those_of_diffusers_own_pipeline(
    model, engine, latents, monkeypatch, region, height, width, target
):
    # The pipeline takes the last steps of its schedule, and a run here those from a noise level on.
    monkeypatch.setattr("gspn_core.cascade.sample.stage_schedule", last_steps)
    # The pipeline draws from the encoder's distribution, and here its mean is taken.
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, _: self.mode())
    start = photograph(height, width)
    settings = redrawn(start, region=region, target=target)
    run(engine, settings, start)
    mask = parse_region(region).mask(height, width)
    wanted = latents_of_diffusers(model, settings, start, mask, settings.start_strength)
    torch.testing.assert_close(latents[0], wanted, atol=1e-4, rtol=1e-4)


def test_latents_without_a_region_are_those_of_a_full_mask(model, engine, latents, monkeypatch):
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, _: self.mode())
    list(engine.run(engine.plan(asked()), previews=False))
    full = Image.new("L", (64, 64), 255)
    wanted = latents_of_diffusers(model, asked(), photograph(64, 64), full, 1.0)
    torch.testing.assert_close(latents[0], wanted, atol=1e-4, rtol=1e-4)


def test_the_network_reads_the_mask(engine, latents):
    """Of the same latents: what differs are the input channels."""
    start = photograph(64, 64)
    for values in ({}, {"region": "box 0 0 500 500"}):
        run(engine, redrawn(start, start_strength=1.0, **values), start)
    assert not torch.allclose(latents[-2], latents[-1], atol=1e-3)


@pytest.mark.parametrize("values", [{"region": BOX}, {"region": "", "extend": "left 50 bottom 50"}])
def test_outside_of_what_is_drawn_every_byte_stays(engine, values):
    start = photograph(64, 64)
    settings = redrawn(start, **values, region_feather=0)
    (stage,) = engine.plan(settings).stages
    (drawn,) = pictures(run(engine, settings, start))
    left, right, top, bottom = stage.margins
    inner = np.asarray(drawn, int)[top : drawn.height - bottom, left : drawn.width - right]
    different = (inner - np.asarray(start, int)).any(2)
    outside = np.ones((64, 64), bool)
    if settings.region:
        outside = np.asarray(parse_region(BOX).mask(64, 64)) == 0
        assert different[~outside].mean() > 0.5
    assert not different[outside].any()


def test_later_stages_are_drawn_whole(engine, monkeypatch):
    seen, original = [], InpaintChannels.extra

    def extra(self, x, i):
        seen.append(original(self, x, i).channels)
        return original(self, x, i)

    monkeypatch.setattr(InpaintChannels, "extra", extra)
    start = photograph(64, 64)
    settings = redrawn(start, target=128, dilated_min_weight=0.0)
    assert [image.size for image in pictures(run(engine, settings, start))] == [(64, 64), (128, 128)]
    assert [tuple(channels.shape) for channels in seen[:1] + seen[-1:]] == [(1, 5, 8, 8), (1, 5, 16, 16)]
    assert 0 < seen[0][:, 0].mean() < 1 and (seen[-1][:, 0] == 1).all()


def test_its_folder_and_its_file_are_recognised(folder, model, tmp_path):
    card = find_card(str(folder))
    assert card.inpaints and "inpainting" in card.description
    assert json.loads((folder / "model_index.json").read_text())["_class_name"].endswith("InpaintPipeline")
    assert card.shapes.unet.extra_channels == 5 and card.shapes.unet.latent_channels == 4
    shutil.copytree(folder, tmp_path / "one", ignore=shutil.ignore_patterns("*.safetensors"))
    save_file(original_tensors(model.pipeline), tmp_path / "one.safetensors")
    loaded = load_model(str(tmp_path / "one.safetensors"), device="cpu", dtype="float32")
    assert loaded.card.inpaints
    assert torch.equal(loaded.pipeline.unet.conv_in.weight, model.pipeline.unet.conv_in.weight)
    (tmp_path / "one" / "unet" / "config.json").write_text(json.dumps(LAYOUTS["small"].unet))
    with pytest.raises(ModelUnavailable, match="has 9 input channels and its configuration in"):
        find_card(str(tmp_path / "one.safetensors"))
    assert inpainting(LAYOUTS["full"]).unet["in_channels"] == 9


def test_a_text_to_image_model_saved_by_the_inpainting_pipeline_is_one(tmp_path):
    write_random_model(tmp_path / "plain", "small")
    index = tmp_path / "plain" / "model_index.json"
    index.write_text(index.read_text().replace("XLPipeline", "XLInpaintPipeline"))
    assert not find_card(str(tmp_path / "plain")).inpaints


@pytest.mark.parametrize("channels", [8, 5, 13])
def test_a_unet_that_reads_something_else_is_refused(folder, tmp_path, channels):
    other = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((other / "unet" / "config.json").read_text())
    (other / "unet" / "config.json").write_text(json.dumps({**config, "in_channels": channels}))
    with pytest.raises(ModelUnavailable, match=f"has {channels} input channels, and SDXL has 4 or, for inp"):
        find_card(str(other))
    assert local_models(tmp_path) == ()


def test_a_refiner_is_refused(folder, tmp_path):
    write_random_refiner(tmp_path / "refiner", "small")
    with pytest.raises(ModelUnavailable, match="inpainting model, which no refiner continues; leave"):
        find_card(str(folder), extras=Extras(refiner=str(tmp_path / "refiner")))


def test_its_first_stage_is_planned_with_an_encoder(model):
    (stage,) = make_plan(asked(), model.card).stages
    assert work_of(stage).has_reference and not work_of(stage).encodes_twice
    redrawing = redrawn(photograph(64, 64))
    assert work_of(make_plan(redrawing, model.card).stages[0]).encodes_twice
    plain = dataclasses.replace(model.card, inpaints=False)
    assert not work_of(make_plan(asked(), plain).stages[0]).has_reference
