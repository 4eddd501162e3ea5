"""A stage that redraws tiles, on real classes with random weights."""

import numpy as np
import pytest
import torch
from PIL import Image

from gspn_core.backbones.sdxl import SDXL
from gspn_core.engine import Engine
from gspn_core.errors import Stopped
from gspn_core.events import PlanReady, StageDone, StepDone
from gspn_core.images.load import reference_of
from gspn_core.kinds.tiles import drawn_crops
from gspn_core.metrics.structure import seams
from gspn_core.settings import Settings
from tests.gspn_core.cascade.test_start import photograph, pictures, run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def engine(tiny_model):
    return Engine(tiny_model)


@pytest.fixture(scope="module")
def start():
    return photograph(64, 64)


def asked(start: Image.Image, **values) -> Settings:
    usual = {"prompt": "a hill", "target": 256, "seed": 3, "num_inference_steps": 3, "upscale_strength": 0.6}
    return Settings(**{**usual, "ladder": "64 tiles:256", "start": reference_of(start), **values})


def last(engine, start, **values) -> Image.Image:
    return pictures(run(engine, asked(start, **values), start))[-1]


def mask_of(engine, start, **values) -> np.ndarray:
    """Return which px are in a tile that is drawn."""
    stage = engine.plan(asked(start, **values)).stages[-1]
    mask = np.zeros((stage.size.height, stage.size.width), bool)
    for top, left, height, width in drawn_crops(start, stage.tiling, (64, 64)):
        mask[top : top + height, left : left + width] = True
    return mask


def test_a_share_of_nothing_is_the_enlarged_picture_without_a_call(engine, start):
    plan, *_ = events = run(engine, asked(start, tile_share=0.0), start)
    assert isinstance(plan, PlanReady) and plan.model_calls == (0, 0)
    assert not any(isinstance(event, StepDone) for event in events)
    assert pictures(events)[-1].tobytes() == last(engine, start, ladder="64 lanczos:256").tobytes()


@pytest.mark.parametrize("scheduler", ["euler", "dpm++2m-karras", "lcm"])
def test_outside_of_the_tiles_every_byte_is_the_enlarged_pictures(engine, start, scheduler):
    drawn, enlarged = (
        np.asarray(last(engine, start, scheduler=scheduler, ladder=ladder), int)
        for ladder in ("64 tiles:256", "64 lanczos:256")
    )
    mask, different = mask_of(engine, start), (drawn != enlarged).any(2)
    assert 0.2 < mask.mean() < 0.9
    assert not different[~mask].any()
    assert different[mask].mean() > 0.5


@pytest.mark.parametrize("values", [{"tile_share": 1.0}, {"tile_share": 0.3}, {"guidance_stop": 0.5}])
def test_the_calls_that_are_planned_are_made(engine, start, values, monkeypatch):
    seen, predict = [], SDXL.predict

    def counted(self, model_input, t, rows, extra):
        seen.append((model_input.shape[-2:], len(rows.prompt_embeds)))
        return predict(self, model_input, t, rows, extra)

    monkeypatch.setattr(SDXL, "predict", counted)
    settings = asked(start, num_inference_steps=6, **values)
    plan, *_ = run(engine, settings, start)
    stage = plan.plan.stages[-1]
    assert plan.model_calls[-1] == sum(rows for _, rows in seen) / 2
    assert len(seen) == stage.steps * stage.tiling.drawn
    assert {tuple(shape) for shape, _ in seen} == {(stage.tiling.height // 8, stage.tiling.width // 8)}


def test_each_tile_is_conditioned_on_its_place_in_the_picture(engine, start, monkeypatch):
    seen, predict = set(), SDXL.predict

    def watched(self, model_input, t, rows, extra):
        seen.update(map(tuple, rows.add_time_ids.tolist()))
        return predict(self, model_input, t, rows, extra)

    monkeypatch.setattr(SDXL, "predict", watched)
    run(engine, asked(start, tile_share=1.0, crop_top=8, original_scale=2.0), start)
    stage = engine.plan(asked(start, tile_share=1.0)).stages[-1]
    assert seen == {
        (512, 512, 8 + crop.top, crop.left, crop.height, crop.width) for crop in stage.tiling.crops
    }


def test_where_all_tiles_see_the_same_there_is_no_seam(engine, start, monkeypatch):
    """A network that predicts each latent alone draws the same in tiles and whole."""

    def alone(_self, model_input, _t, rows, **_extra):
        return torch.tanh(model_input).expand(len(rows.prompt_embeds), -1, -1, -1)

    monkeypatch.setattr(SDXL, "predict", alone)
    tiled = last(engine, start, tile_share=1.0)
    whole = last(engine, start, ladder="64 256", dilation_until=0.0)
    assert np.abs(np.asarray(tiled, int) - np.asarray(whole, int)).max() <= 1


def test_tiles_have_no_seams_where_they_meet(engine, start):
    stage = engine.plan(asked(start)).stages[-1]
    tiling = stage.tiling
    edges = [
        sorted({*starts[1:], *(begin + side for begin in starts[:-1])})
        for starts, side in ((tiling.tops, tiling.height), (tiling.lefts, tiling.width))
    ]
    measured = {
        name: seams(last(engine, start, **values), *edges)
        for name, values in {
            "whole": {"ladder": "64 256"},
            "all tiles": {"tile_share": 1.0},
            "half": {"tile_share": 0.5},
        }.items()
    }
    assert measured["all tiles"] < 1.1 * measured["whole"]
    assert measured["half"] < 1.2 * measured["whole"]


@pytest.mark.parametrize("mixer", ["gspn", "attention", "neighborhood"])
def test_every_mixer_draws_tiles_and_the_same_again(engine, start, mixer):
    one, other = (last(engine, start, mixer=mixer) for _ in range(2))
    assert one.tobytes() == other.tobytes()


def test_a_stop_ends_a_stage_in_tiles_at_its_next_step(engine, start):
    plan = engine.plan(asked(start, num_inference_steps=20))
    steps = []
    events = engine.run(plan, lambda: len(steps) == 2, previews=False, start=start)
    with pytest.raises(Stopped):
        for event in events:
            if isinstance(event, StepDone):
                steps.append(event)
    assert len(steps) == 2


def test_tiles_follow_a_drawn_stage_and_are_followed_by_a_whole_one(engine):
    settings = Settings(prompt="a hill", seed=3, target=256, num_inference_steps=4, ladder="64 tiles:128 256")
    events = list(engine.run(engine.plan(settings), previews=False))
    sizes = [event.image.size for event in events if isinstance(event, StageDone)]
    assert sizes == [(64, 64), (128, 128), (256, 256)]
