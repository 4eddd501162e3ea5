"""Stable Diffusion's x4 upscaler as a stage: parity with diffusers, tiles, plans, keys, refusals."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionUpscalePipeline, UNet2DConditionModel
from PIL import Image

from gspn_core.backbones.backbone import Extra
from gspn_core.backbones.x4 import X4Upscaler
from gspn_core.cascade.sample import stage_generator
from gspn_core.cli.models import main as models_command
from gspn_core.controls.small_picture import noise_generator
from gspn_core.engine import Engine
from gspn_core.errors import BadSetting, ModelUnavailable, Stopped
from gspn_core.events import StageDone, StepDone, TileDone
from gspn_core.models.catalog import Extras, find_card
from gspn_core.models.loading import load_model
from gspn_core.models.random_weights import write_random_model, write_random_x4
from gspn_core.models.x4 import X4_SHAPES, read_x4_shapes
from gspn_core.models.x4_layout import X4_LAYOUTS
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import Machine, Size
from gspn_core.settings import Settings, parse_overrides

ASKED = Settings(
    prompt="a hill under a blue sky",
    negative_prompt="fog",
    seed=1,
    target=256,
    ladder="x4:256",
    num_inference_steps=2,
    guidance_scale=4.0,
    scheduler="ddim",
    noise_level=30,
)

CHANGES = {
    "noise_level": 200,
    "guidance_scale": 7.0,
    "negative_prompt": "snow",
    "scheduler": "euler",
    "num_inference_steps": 3,
    "guidance_stop": 0.3,
}
LARGE = dataclasses.replace(ASKED, target=1024, ladder="x4:1024")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("models") / "x4"
    write_random_x4(where, size="small")
    return where


@pytest.fixture(scope="module")
def x4(folder):
    write_random_model(folder.parent / "base", size="small")
    base = str(folder.parent / "base")
    return load_model(base, device="cpu", dtype="float32", extras=Extras(x4=str(folder))).x4


@pytest.fixture
def model(tiny_model, x4):
    card = dataclasses.replace(tiny_model.card, x4="a digest")
    return dataclasses.replace(tiny_model, card=card).with_x4(x4)


@pytest.fixture
def engine(model, monkeypatch) -> Engine:
    """An engine whose maps of 64 latents go through the UNet in one piece."""
    monkeypatch.setattr("gspn_core.backbones.x4.x4_tile_side", lambda _side: 64)
    return Engine(model)


def small_picture(side: int = 64) -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def drawn(engine: Engine, settings: Settings, image: Image.Image, should_stop=lambda: False):
    """Return the picture of the x4 stage over `image`, and the events of the run."""
    plan = engine.plan(settings)
    events = list(engine.run(plan, should_stop, finished=(image,)))
    (done,) = (event for event in events if isinstance(event, StageDone))
    return done.image, events


def expected(folder, settings: Settings, image: Image.Image) -> np.ndarray:
    """Return the picture of diffusers' own pipeline with the same noise, in [0, 1]."""
    pipeline = StableDiffusionUpscalePipeline.from_pretrained(
        folder, dtype=torch.float32, variant="fp16", local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    latents = torch.randn((1, 4, image.height, image.width), generator=stage_generator(settings.seed, 1))
    return pipeline(
        prompt=settings.prompt,
        negative_prompt=settings.negative_prompt,
        image=image,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        noise_level=settings.noise_level,
        generator=noise_generator(settings.seed, 1),
        latents=latents,
        output_type="np",
    ).images[0]


def test_it_draws_what_diffusers_own_pipeline_draws(folder, engine, monkeypatch):
    samples = []
    whole = "gspn_core.cascade.walk.to_image"
    monkeypatch.setattr(whole, lambda sample: samples.append(sample.clone()) or Image.new("RGB", (256, 256)))
    drawn(engine, ASKED, small_picture())
    ours = samples[0][0].permute(1, 2, 0).numpy() / 2 + 0.5
    theirs = expected(folder, ASKED, small_picture())
    assert theirs.std() > 0.02
    assert np.abs(ours.clip(0, 1) - theirs).max() < 1e-4


def test_each_setting_that_it_reads_changes_the_picture_and_the_key(engine):
    image = small_picture()
    first, _ = drawn(engine, ASKED, image)
    again, _ = drawn(engine, ASKED, image)
    assert first == again and first.size == (256, 256)
    key = engine.plan(ASKED).stages[1].key
    for name, value in CHANGES.items():
        other = dataclasses.replace(ASKED, **{name: value})
        assert engine.plan(other).stages[1].key != key, name
        if name in ("noise_level", "negative_prompt", "guidance_stop"):
            assert drawn(engine, other, image)[0] != first, name
    unread = dataclasses.replace(ASKED, mixer="attention", crop_top=8, upscale_strength=0.7)
    one, two = (engine.plan(settings).stages for settings in (ASKED, unread))
    assert dataclasses.replace(one[1], key="").settings.mixer == two[1].settings.mixer == "attention"


def test_steps_and_tiles_are_reported_and_previewed(engine):
    _, events = drawn(engine, ASKED, small_picture())
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [(event.step, event.steps) for event in steps] == [(1, 2), (2, 2)]
    assert all(event.preview is not None for event in steps)
    phases = {event.phase for event in events if isinstance(event, TileDone)}
    assert phases == {"decode"}


def test_a_stop_is_seen_within_a_step_of_several_tiles(model, monkeypatch):
    # Of 32 latents a side: nine a step.
    asked, calls, engine = [0], [0], Engine(model)
    forward = UNet2DConditionModel.forward

    def counted(*args, **kwargs):
        calls[0] += 1
        return forward(*args, **kwargs)

    def should_stop() -> bool:
        asked[0] += 1
        return asked[0] > 6

    monkeypatch.setattr(UNet2DConditionModel, "forward", counted)
    with pytest.raises(Stopped):
        drawn(engine, ASKED, small_picture(), should_stop)
    assert 0 < calls[0] < 7


def test_tiles_differ_little_from_the_whole(model, monkeypatch):
    upscaler = X4Upscaler(model.x4)
    assert upscaler.tile == 32
    rows = upscaler.read("a hill", "")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 64, 48, generator=generator)
    extra = Extra(channels=torch.randn(1, 3, 64, 48, generator=generator), class_labels=torch.tensor([20]))
    with torch.inference_mode():
        tiled = upscaler.predict(x, torch.tensor(500), rows, extra)
        monkeypatch.setattr(upscaler, "tile", 64)
        whole = upscaler.predict(x, torch.tensor(500), rows, extra)
    assert tiled.shape == whole.shape == (2, 4, 64, 48)
    # The deepest block attends over the whole map, so tiles are never the same.
    assert (tiled - whole).abs().mean() < 0.25 * whole.abs().mean()


def test_open_settings_take_the_published_values_for_its_stages_alone(engine):
    asked = Settings(prompt="a hill", seed=1, target=256, ladder="x4:256")
    base, stage = engine.plan(asked).stages
    assert (stage.steps, stage.settings.guidance_scale, stage.settings.scheduler) == (75, 9.0, "ddim")
    assert (base.steps, base.settings.scheduler) == (6, "euler")
    own = dataclasses.replace(asked, overrides=parse_overrides("256.num_inference_steps=10"))
    assert engine.plan(own).stages[1].steps == 10
    resolved = engine.plan(asked).settings
    assert engine.plan(Settings.from_dict(resolved.to_dict())).stages[1].key == stage.key


def test_what_it_does_not_read_of_the_prompts_is_said(engine):
    assert engine.plan(ASKED).notices == ()
    weighted = engine.plan(dataclasses.replace(ASKED, prompt="a (hill:1.3)", negative_prompt="fog " * 90))
    assert "The x4 upscaler reads the prompt without its weights." in weighted.notices
    assert "The x4 upscaler reads the first 75 tokens of the negative prompt." in weighted.notices
    plain = dataclasses.replace(ASKED, prompt="a (hill:1.3)", ladder="")
    assert not any("x4" in notice for notice in engine.plan(plain).notices)


def test_overrides_name_what_it_reads(engine):
    own = dataclasses.replace(ASKED, overrides=parse_overrides("256.noise_level=100"))
    assert engine.plan(own).stages[1].settings.noise_level == 100
    with pytest.raises(BadSetting, match=r"256 px \(x4\) has no upscale_strength"):
        engine.plan(dataclasses.replace(ASKED, overrides=parse_overrides("256.upscale_strength=0.3")))
    with pytest.raises(BadSetting, match="noise_level must be a whole number from 0 to 350"):
        dataclasses.replace(ASKED, noise_level=400)


def test_another_size_or_no_upscaler_is_refused_with_what_to_do(engine):
    with pytest.raises(BadSetting, match=r"kind x4 is 4 times as large .* got 256 px after 128; put 64"):
        engine.plan(dataclasses.replace(ASKED, ladder="128 x4:256"))
    with pytest.raises(BadSetting, match=r"no x4 upscaler for x4:256; start with --x4 x4-upscaler, or write"):
        make_plan(ASKED, find_card("world"))


def test_its_weights_are_in_the_key_of_its_stages_only(folder):
    card, plain = find_card("world", extras=Extras(x4=str(folder))), find_card("world")
    assert card.fingerprint == plain.fingerprint and card.x4
    one = make_plan(LARGE, card)
    other = make_plan(LARGE, dataclasses.replace(card, x4="another"))
    assert one.stages[0].key == other.stages[0].key and one.stages[1].key != other.stages[1].key


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        (
            ".",
            "_class_name",
            "StableDiffusionPipeline",
            "holds StableDiffusionPipeline, not a StableDiffusionU",
        ),
        ("unet", "in_channels", 4, "has a UNet of 4 input and 4 output channels"),
        ("unet", "num_class_embeds", None, "has a UNet without a noise level"),
        ("vae", "block_out_channels", [8, 8, 8, 8], "has an autoencoder of another factor than 4"),
        ("text_encoder", "hidden_size", 24, "has a text encoder of another width than its UNet reads"),
    ],
)
def test_a_folder_of_another_model_is_refused_in_a_sentence(folder, tmp_path, part, name, value, said):
    for path in folder.rglob("*.json"):
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    file = tmp_path / part / ("model_index.json" if part == "." else "config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    with pytest.raises(ModelUnavailable, match=f"{said}.*give the folder of an x4 upscaler"):
        find_card("world", extras=Extras(x4=str(tmp_path)))


def test_a_damaged_folder_is_refused(folder, tmp_path):
    for path in folder.rglob("*.json"):
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert find_card("world", extras=Extras(x4=str(tmp_path))).x4
    (tmp_path / "low_res_scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"no scheduler_config.json in .*low_res_scheduler"):
        find_card("world", extras=Extras(x4=str(tmp_path)))


def test_the_published_shapes_are_those_of_the_published_configuration(folder):
    layout = X4_LAYOUTS["full"]
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(layout["unet"]))
        vae = AutoencoderKL.from_config(dict(layout["vae"]))
    counts = [sum(weight.numel() for weight in part.parameters()) for part in (unet, vae)]
    assert counts == [X4_SHAPES.unet.parameters, X4_SHAPES.vae.parameters]
    assert X4_SHAPES.vae.factor == 4 and X4_SHAPES.unet.tile_side == 256
    small = read_x4_shapes(folder)
    assert small.unet.only_cross == (True, True, True, False) and small.unet.extra_channels == 3
    to_fetch = find_card("world", extras=Extras(x4="x4-upscaler"))
    assert dataclasses.replace(to_fetch.shapes.x4, other_parameters=0) == X4_SHAPES


def test_its_stage_has_its_own_memory_and_time(folder):
    card = find_card("world", extras=Extras(x4=str(folder)))
    timing = StageTiming(
        mixer="gspn", height=1024, width=1024, encode_seconds=1.0, step_seconds=2.0, decode_seconds=3.0
    )
    machine = Machine(device="cpu", budget_bytes=2**40, base_bytes=0, element_bytes=4, timings=(timing,))
    stage = make_plan(LARGE, card, machine).stages[1]
    assert stage.peak_bytes > 0 and stage.seconds > 0 and stage.fits
    longer = make_plan(dataclasses.replace(LARGE, num_inference_steps=6), card, machine).stages[1]
    assert longer.seconds > stage.seconds
    full = dataclasses.replace(card, shapes=find_card("world", extras=Extras(x4="x4-upscaler")).shapes)
    large = make_plan(LARGE, full, machine).stages[1]
    assert large.seconds > 20 * stage.seconds
    assert large.peak_bytes - stage.peak_bytes > 4 * 800_000_000
    tight = make_plan(LARGE, full, dataclasses.replace(machine, budget_bytes=10**9)).stages[1]
    assert not tight.fits


def test_tiles_bound_the_memory_of_a_large_stage():
    card = find_card("world", extras=Extras(x4="x4-upscaler"))
    card = dataclasses.replace(card, max_target_px=4096, base_px=512)
    machine = Machine(device="cpu", budget_bytes=2**40, base_bytes=0, element_bytes=2)
    asked = [dataclasses.replace(ASKED, target=px, ladder=f"{px // 4} x4:{px}") for px in (2048, 4096)]
    one, two = (make_plan(settings, card, machine).stages[-1] for settings in asked)
    assert two.size == Size(4096, 4096)
    assert two.peak_bytes - one.peak_bytes < 80 * (two.size.pixels - one.size.pixels)


def test_the_command_writes_a_folder(tmp_path, capsys):
    assert models_command(["random", str(tmp_path / "x4"), "--size", "small", "--x4"]) == 0
    assert "MB of random weights" in capsys.readouterr().out
    assert find_card("world", extras=Extras(x4=str(tmp_path / "x4"))).x4
