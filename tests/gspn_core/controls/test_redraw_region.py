"""A region is redrawn, and nothing else of the picture changes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from gspn_core.cascade.sample import StageSampler, stage_generator
from gspn_core.controls.redraw_region import drawn_mask, feathered
from gspn_core.engine import Engine
from gspn_core.errors import BadSetting
from gspn_core.images.extended import extended
from gspn_core.images.load import cropped, reference_of
from gspn_core.planning.plan import make_plan
from gspn_core.region import parse_region
from gspn_core.settings import CHOICES, Settings
from tests.gspn_core.cascade.test_start import photograph, pictures, run

BOX = "box 250 250 500 500"


@pytest.fixture
def engine(tiny_model):
    return Engine(tiny_model)


def asked(start: Image.Image, **values) -> Settings:
    usual = {"prompt": "a hill", "target": 128, "seed": 3, "num_inference_steps": 4, "start_strength": 0.8}
    return Settings(**{**usual, "start": reference_of(start), "region": BOX, **values})


def changed(one: Image.Image, other: Image.Image) -> np.ndarray:
    return (np.asarray(one, int) - np.asarray(other, int)).any(2)


@pytest.mark.parametrize("scheduler", CHOICES["scheduler"])
@pytest.mark.parametrize("region", [BOX, f"outside; {BOX}", "brush 60 200 200 700 800"])
def test_outside_of_the_region_every_byte_stays(engine, scheduler, region):
    start = photograph(128, 128)
    (drawn,) = pictures(run(engine, asked(start, scheduler=scheduler, region=region), start))
    inside = np.asarray(parse_region(region).mask(128, 128)) > 0
    different = changed(drawn, start)
    assert not different[~inside].any()
    assert different[inside].mean() > 0.5


def test_a_region_enters_at_the_pictures_own_size_and_is_upscaled_with_it(engine):
    start = photograph(128, 128)
    first, second = pictures(run(engine, asked(start, target=256), start))
    assert (first.size, second.size) == ((128, 128), (256, 256))
    assert not changed(first, start)[:30].any()


def test_the_rest_is_the_noised_picture_at_every_step_of_euler(engine, monkeypatch):
    """As diffusers' inpainting of a model with four channels does it, by add_noise at each step."""
    start, seen = photograph(128, 128), {}
    original = StageSampler.sample

    def sample(self, z_ref, controls, *others):
        seen.update(z_ref=z_ref, sampler=self, control=controls[-1], xs=[])
        after = type(controls[-1]).after

        def watched(control, x, i):
            seen["xs"].append(x.clone())
            return after(control, x, i)

        monkeypatch.setattr(type(controls[-1]), "after", watched)
        return original(self, z_ref, controls, *others)

    monkeypatch.setattr(StageSampler, "sample", sample)
    run(engine, asked(start, scheduler="euler", num_inference_steps=10), start)
    sampler, outside = seen["sampler"], (seen["control"].inside == 0).expand_as(seen["z_ref"])
    noise = sampler._noise(stage_generator(3, 0))
    for x, sigma in zip(seen["xs"], sampler.scheduler.sigmas[-8:], strict=True):
        wanted = seen["z_ref"] + sigma * noise
        assert torch.allclose(x[outside], wanted[outside], atol=1e-4)
    assert outside.any() and not outside.all()


def test_latents_that_the_region_touches_are_free():
    mask = parse_region("box 500 500 2 2").mask(64, 64)
    shares = torch.from_numpy(np.array(mask))[None, None].float() / 255
    assert functional.max_pool2d(shares, 8).sum() == 1


@pytest.mark.parametrize("feather", [0.0, 0.5, 8.0, 40.0, 256.0])
@pytest.mark.parametrize(
    "text", [BOX, "box 480 100 6 800", "outside; box 100 100 800 800", "brush 4 1 1 999 999"]
)
def test_a_feather_stays_inside_and_leaves_a_core(feather, text):
    region = parse_region(text)
    mask = region.mask(256, 256)
    soft = np.asarray(feathered(mask, min(feather, region.thickness(256, 256))))
    assert not soft[np.asarray(mask) == 0].any()
    assert soft.max() > 200


def test_a_feather_rises_over_its_width():
    region = parse_region(BOX)
    row = np.asarray(feathered(region.mask(400, 400), 40.0))[200, 100:200].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[0] < 20 and row[20] > 100 and row[45] > 250


def test_region_and_feather_are_part_of_the_key_of_a_redrawn_stage_alone(tiny_model):
    start, card = photograph(128, 128), tiny_model.card
    keys = {
        make_plan(asked(start, region=region, region_feather=feather), card).stages[0].key
        for region, feather in (("", 16), (BOX, 16), (BOX, 4), ("box 1 2 3 4", 16))
    }
    assert len(keys) == 4
    plain = make_plan(Settings(prompt="a", seed=1, target=128), card)
    assert (
        plain.stages[0].key
        == make_plan(Settings(prompt="a", seed=1, target=128, region_feather=3), card).stages[0].key
    )


@pytest.mark.parametrize("start", ["", reference_of(photograph())])
def test_a_region_of_what_is_not_redrawn_is_refused(tiny_model, start):
    settings = Settings(prompt="a", start=start, target=256, region=BOX)
    with pytest.raises(BadSetting, match="region is a part of an init image that is redrawn; give one"):
        make_plan(settings, tiny_model.card)


def box_of(size, margins, border=0):
    """Return the slices of what is in a canvas, less a border at each side that is extended."""
    left, right, top, bottom = (margin and margin + border for margin in margins)
    return slice(top, size.height - bottom), slice(left, size.width - right)


@pytest.mark.parametrize("scheduler", ["euler", "dpm++2m-sde-karras"])
@pytest.mark.parametrize("feather", [0.0, 12.0])
@pytest.mark.parametrize("extend", ["right 50", "left 25 top 25", "left 6 right 6 top 6 bottom 6"])
def test_an_extended_picture_keeps_its_bytes_but_for_the_feathered_border(engine, extend, feather, scheduler):
    start = photograph(128, 128)
    settings = asked(start, region="", extend=extend, region_feather=feather, scheduler=scheduler)
    plan = engine.plan(settings)
    (stage,) = plan.stages
    (drawn,) = pictures(run(engine, settings, start))
    assert drawn.size == (stage.size.width, stage.size.height) and drawn.size != start.size
    padded = np.asarray(extended(start, 128, 128, stage.margins))
    different = (np.asarray(drawn, int) - padded).any(2)
    kept = box_of(stage.size, stage.margins, round(feather))
    assert not different[kept].any()
    new = np.ones_like(different)
    new[box_of(stage.size, stage.margins)] = False
    assert different[new].mean() > 0.9
    if feather:
        border = np.zeros_like(different)
        border[box_of(stage.size, stage.margins)] = True
        border[kept] = False
        assert different[border].mean() > 0.3


def test_a_picture_of_another_size_keeps_its_resized_bytes(engine):
    start = photograph(150, 210)
    settings = asked(start, region="", extend="bottom 30", region_feather=8)
    (stage,) = engine.plan(settings).stages
    (drawn,) = pictures(run(engine, settings, start))
    inner = stage.size.within(stage.margins)
    wanted = cropped(start, inner.height, inner.width)
    wanted = wanted.resize((inner.width, inner.height), Image.Resampling.LANCZOS)
    apart = changed(drawn.crop((0, 0, inner.width, inner.height)), wanted)
    assert not apart[:-8].any()


def test_a_region_of_an_extended_picture_is_one_of_the_picture_itself(engine):
    start = photograph(128, 128)
    settings = asked(start, extend="left 50", region_feather=0)
    (stage,) = engine.plan(settings).stages
    (drawn,) = pictures(run(engine, settings, start))
    own = changed(drawn.crop((64, 0, 192, 128)), start)
    inside = np.asarray(parse_region(BOX).mask(128, 128)) > 0
    assert stage.margins.left == 64
    assert not own[~inside].any() and own[inside].mean() > 0.5


def test_an_extended_picture_is_upscaled_with_what_was_added(engine):
    start = photograph(128, 128)
    settings = asked(start, region="", extend="right 25", target=256)
    first, second = pictures(run(engine, settings, start))
    assert (first.size, second.size) == ((160, 128), (320, 256))
    (again,) = pictures(run(engine, settings, start, finished=[first]))
    assert again.tobytes() == second.tobytes()


@pytest.mark.parametrize("feather", [0.0, 16.0, 256.0])
def test_of_a_small_picture_half_is_kept_whatever_the_feather(tiny_model, feather):
    settings = asked(photograph(128, 128), region="", extend="left 50 right 50", region_feather=feather)
    (stage,) = make_plan(settings, tiny_model.card).stages
    mask = np.asarray(drawn_mask(stage).image)
    assert not mask[:, 96:160].any() and mask[:, :64].all() and mask[:, 192:].all()
