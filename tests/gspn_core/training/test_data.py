"""The render cache and the views of its numbers."""

from dataclasses import replace

import numpy as np
import pytest

from gspn_core.metrics.samples import to_sample
from gspn_core.training.data import RenderCache, View, caption_of, crops, held_out, view_of
from gspn_core.world.captions import vocabulary
from gspn_core.world.render.draw import render
from gspn_core.world.scene import Scene


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Eight small pictures, all drawn."""
    cache = RenderCache.create(tmp_path_factory.mktemp("data"), count=8, base_px=32, seed=3)
    cache.fill(processes=1)
    return cache


def test_a_number_stands_for_the_same_view_every_time():
    assert view_of(5, seed=1, base_px=256) == view_of(5, seed=1, base_px=256)
    assert view_of(5, seed=1, base_px=256) != view_of(6, seed=1, base_px=256)


def test_about_a_third_of_the_views_are_crops_and_lie_inside_their_view():
    views = [view_of(number, seed=0, base_px=256) for number in range(600)]
    assert 0.28 < np.mean([view.view_px > 256 for view in views]) < 0.42
    for view in views:
        assert 0 <= min(view.top, view.left) <= max(view.top, view.left) <= view.view_px - 256


def test_a_crop_is_a_piece_of_the_large_drawing():
    view = next(v for v in (view_of(n, seed=0, base_px=64) for n in range(100)) if v.view_px == 128)
    whole = render(view.scene, height=128, width=128)
    piece = whole[view.top : view.top + 64, view.left : view.left + 64]
    assert np.abs(view.draw().astype(int) - piece).mean() < 2


def test_conditioning_names_the_view_and_hides_the_place_of_some_crops():
    scene = view_of(0, seed=0, base_px=256).scene
    view = View(scene=scene, base_px=256, view_px=1024, top=300, left=40)
    ids_drawn = [view.time_ids(np.random.default_rng(number)) for number in range(200)]
    assert {ids[:2] for ids in ids_drawn} == {(1024, 1024)}
    assert {ids[2:4] for ids in ids_drawn} == {(0, 0), (300, 40)}
    assert {ids[4:] for ids in ids_drawn} == {(256, 256), (1024, 1024)}


def test_captions_of_a_number_vary_and_speak_of_the_world():
    captions = {caption_of(4, seed=0, rng=np.random.default_rng(number)) for number in range(20)}
    assert len(captions) > 5
    assert {word for text in captions for word in text.replace(",", "").split()} <= vocabulary()


def test_cache_keeps_what_was_drawn(cache):
    assert cache.ready().tolist() == list(range(8))
    again = RenderCache(cache.folder)
    np.testing.assert_array_equal(again.images[6], view_of(6, seed=3, base_px=32).draw())


def test_cache_draws_only_what_is_missing(cache):
    before = cache.images[2].copy()
    cache.images[2] = 0
    cache.fill(processes=1)
    assert (cache.images[2] == 0).all()
    cache.images[2] = before


def test_held_out_pictures_are_never_trained_on(cache):
    assert held_out(cache.count) == 2
    assert cache.held_out_numbers().tolist() == [0, 1]
    assert set(cache.train_numbers()).isdisjoint(cache.held_out_numbers())


def test_cache_refuses_another_size_in_the_same_folder(cache):
    with pytest.raises(ValueError, match="name another folder"):
        RenderCache.create(cache.folder, count=9, base_px=32, seed=3)


def test_crops_are_cut_from_their_pictures(cache):
    numbers = np.array([7, 3])
    sample = crops(cache, numbers, size=32, rng=np.random.default_rng(0))
    for place, number in enumerate(numbers):
        picture = to_sample(cache.images[number][None])[0]
        assert any(np.array_equal(sample[place], way) for way in (picture, picture[..., ::-1]))


def test_samples_span_minus_one_to_one():
    sample = to_sample(np.array([0, 255], dtype=np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3))
    assert sample.shape == (1, 3, 1, 2)
    np.testing.assert_allclose(sample[0, :, 0], [[-1, 1]] * 3)


@pytest.mark.parametrize("crop", [None, (1, 0), (0, 1)])
def test_the_mask_of_an_object_covers_what_the_object_draws(crop):
    scene = Scene(
        time="day", sky="clear", celestial="none", terrain="hills", cover="green", foreground="meadow",
        object="balloon", seed=4,
    )  # fmt: skip
    full = 64 if crop is None else 128
    top, left = (0, 0) if crop is None else (64 * crop[0], 64 * crop[1])
    view = View(scene=scene, base_px=64, view_px=full, top=top, left=left)
    changed = view.draw() != replace(view, scene=replace(scene, object="none")).draw()
    mask = np.kron(view.thing_mask(8), np.ones((8, 8), dtype=bool))
    assert not (changed.any(axis=2) & ~mask).any()
    assert mask.mean() < 0.6
    assert mask.any() == changed.any()


def test_a_scene_without_an_object_has_an_empty_mask():
    view = next(v for v in (view_of(n, seed=0, base_px=64) for n in range(100)) if v.scene.object == "none")
    assert not view.thing_mask(8).any()
