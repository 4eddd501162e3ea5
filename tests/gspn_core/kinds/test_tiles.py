"""The tiles of a stage: how they cover it, which are drawn, and what a plan says of them."""

import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image

from gspn_core.kinds.registry import find_kind
from gspn_core.kinds.tiles import OVERLAP, detail, drawn_crops, make_tiling
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import Size
from gspn_core.settings import Settings


@pytest.mark.parametrize(
    ("height", "width", "base_px", "unit", "tile", "count"),
    [
        (1024, 1024, 256, 32, (288, 288), 16),
        (2048, 2048, 1024, 32, (1088, 1088), 4),
        (832, 1248, 256, 32, (256, 288), 20),
        (256, 512, 256, 32, (256, 288), 2),
        (128, 128, 64, 8, (72, 72), 4),
        (200, 64, 64, 8, (56, 64), 4),
    ],
)
def test_tiles_of_about_the_bases_size_cover_a_stage_and_share_an_eighth(
    height, width, base_px, unit, tile, count
):
    tiling = make_tiling(height, width, base_px=base_px, unit=unit, share=1.0)
    assert (tiling.height, tiling.width) == tile and len(tiling.crops) == tiling.drawn == count
    for starts, side, length in (
        (tiling.tops, tiling.height, height),
        (tiling.lefts, tiling.width, width),
    ):
        assert starts[0] == 0 and starts[-1] + side == length
        assert all(start % 8 == 0 for start in starts)
        assert all(one + side - other > base_px * OVERLAP - 8 for one, other in itertools.pairwise(starts))


@pytest.mark.parametrize(("share", "drawn"), [(0.0, 0), (0.05, 1), (0.5, 8), (0.55, 9), (1.0, 16)])
def test_a_share_is_a_number_of_tiles(share, drawn):
    assert make_tiling(1024, 1024, 256, 32, share).drawn == drawn


def speckled(quarter: int) -> Image.Image:
    """Return a flat picture of 64 px with fine noise in one quarter, counted row by row."""
    pixels = np.full((64, 64, 3), 120, np.uint8)
    top, left = 32 * (quarter // 2), 32 * (quarter % 2)
    pixels[top : top + 32, left : left + 32] += (
        np.random.default_rng(0).integers(0, 90, (32, 32, 1)).astype(np.uint8)
    )
    return Image.fromarray(pixels)


@pytest.mark.parametrize("quarter", range(4))
def test_the_tile_with_the_finest_detail_is_drawn_first(quarter):
    tiling = make_tiling(128, 128, base_px=64, unit=8, share=0.25)
    assert drawn_crops(speckled(quarter), tiling, (64, 64)) == (tiling.crops[quarter],)
    more = dataclasses.replace(tiling, drawn=3)
    assert tiling.crops[quarter] in drawn_crops(speckled(quarter), more, (64, 64))


def test_a_larger_share_draws_the_same_tiles_and_more():
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8))
    tiling = make_tiling(256, 256, base_px=64, unit=8, share=0.0)
    found = [
        set(drawn_crops(picture, dataclasses.replace(tiling, drawn=drawn), (64, 64))) for drawn in range(17)
    ]
    assert all(one < other for one, other in itertools.pairwise(found))


def test_a_smooth_slope_counts_less_than_texture_of_the_same_contrast():
    slope = np.linspace(60, 200, 64)[None].repeat(64, 0)
    texture = np.where(np.indices((64, 64)).sum(0) % 2, 200.0, 60.0)
    tiling = make_tiling(128, 128, base_px=64, unit=8, share=0.5)
    smooth, fine = (
        detail(Image.fromarray(values.astype(np.uint8)).convert("RGB"), tiling, (64, 64))
        for values in (slope, texture)
    )
    assert max(smooth) < 0.1 * min(fine)


def test_an_image_is_looked_at_in_the_size_of_the_stage_before():
    tiling = make_tiling(128, 128, base_px=64, unit=8, share=0.25)
    large = speckled(2).resize((192, 192), Image.Resampling.LANCZOS)
    assert drawn_crops(large, tiling, (64, 64)) == drawn_crops(speckled(2), tiling, (64, 64))


def stages(card, **values):
    asked = {"prompt": "a hill", "seed": 1, "target": 128, "ladder": "64 tiles:128"}
    return make_plan(Settings(**{**asked, **values}), card).stages


def test_a_plan_has_the_tiles_and_the_calls_before_the_stage_runs(card):
    stage = stages(card)[-1]
    assert stage.kind == find_kind("tiles") and stage.tiling.drawn == stage.evaluations_per_step == 2
    assert stage.drawn_at_once == Size(72, 72) and stage.samples and stage.steps == 2
    whole = stages(card, ladder="64 128")[-1]
    assert whole.tiling is None and whole.drawn_at_once == whole.size and whole.evaluations_per_step == 1


def test_a_share_of_nothing_takes_no_step(card):
    stage = stages(card, tile_share=0.0)[-1]
    assert stage.steps == 0 and not stage.samples


def test_the_share_is_in_the_key_of_a_stage_in_tiles_and_of_no_other(card):
    one, other = (stages(card, tile_share=share) for share in (0.5, 0.75))
    assert [a.key == b.key for a, b in zip(one, other, strict=True)] == [True, False]
    plain = [stages(card, ladder="64 128", tile_share=share)[-1].key for share in (0.5, 0.75)]
    assert plain[0] == plain[1] != one[-1].key


def test_what_dilates_the_unet_is_not_in_the_key_of_a_stage_in_tiles(card):
    plain, dilated = (stages(card, **values)[-1] for values in ({}, {"cosine_scale_2": 0.4}))
    assert plain.key == dilated.key
