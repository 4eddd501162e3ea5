"""Variations of a seed: the first stage's starting noise, moved towards another seed's."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image

from gspn_core.cascade.sample import slerp
from gspn_core.engine import Engine
from gspn_core.events import StageDone
from gspn_core.images.load import reference_of
from gspn_core.settings import Settings

SETTINGS = Settings(prompt="a lake", seed=3, num_inference_steps=4, target=128, mixer="attention")


@pytest.fixture(scope="module")
def drawn():
    """Return where pictures are kept that several tests compare with."""
    return {}


@pytest.fixture
def pictures(sized_model, drawn):
    """Return a function: the pictures of all stages of settings, as arrays."""

    def of(image=None, /, **changes) -> list[np.ndarray]:
        asked = dataclasses.replace(SETTINGS, **changes)
        if asked not in drawn:
            engine = Engine(sized_model)
            events = engine.run(engine.plan(asked), start=image)
            drawn[asked] = [np.array(one.image, float) for one in events if isinstance(one, StageDone)]
        return drawn[asked]

    return of


def noise(seed: int) -> torch.Tensor:
    return torch.randn(1, 4, 32, 24, generator=torch.Generator().manual_seed(seed))


def test_a_noise_between_two_is_on_the_arc_between_them():
    a, b = noise(1), noise(2)
    assert torch.equal(slerp(a, b, 0.0), a)
    assert torch.equal(slerp(a, b, 1.0), b)
    # A weighted mean of two would have a deviation of 0.71 in the middle.
    assert abs(float(slerp(a, b, 0.5).std()) - 1) < 0.03

    def angle(one: torch.Tensor, other: torch.Tensor) -> float:
        return math.acos(float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), 0)))

    assert angle(slerp(a, b, 0.3), a) == pytest.approx(0.3 * angle(a, b), rel=0.05)


def test_between_a_noise_and_itself_there_is_that_noise():
    assert torch.equal(slerp(noise(1), noise(1), 0.4), noise(1))


def test_at_0_the_picture_is_the_seeds_and_at_1_the_other_seeds(pictures):
    own = pictures()
    for before, after in zip(own, pictures(variation_seed=9), strict=True):
        assert np.array_equal(before, after)
    assert np.array_equal(pictures(variation_seed=9, variation_strength=1.0)[0], pictures(seed=9)[0])


def test_the_more_strength_the_further_from_the_seeds_picture(pictures):
    own = pictures()[0]
    far = [np.abs(pictures(variation_seed=9, variation_strength=s)[0] - own).mean() for s in (0.1, 0.4, 1)]
    assert 0 < far[0] < far[1] < far[2]


def test_later_stages_draw_the_noise_of_the_seed(pictures, sized_model):
    settings = dataclasses.replace(SETTINGS, variation_seed=9, variation_strength=1.0)
    plain = dataclasses.replace(SETTINGS, seed=9)
    varied, other = (Engine(sized_model).plan(one).stages[1] for one in (settings, plain))
    assert "variation_strength" not in varied.kind.reads
    # The first stages are the same; what differs in the second is its own noise.
    assert not np.array_equal(pictures(variation_seed=9, variation_strength=1.0)[1], pictures(seed=9)[1])
    assert other.key != varied.key


def test_an_init_image_that_is_redrawn_has_variations_too(pictures):
    photo = Image.fromarray(np.random.default_rng(4).integers(0, 256, (64, 64, 3), np.uint8))
    start = {"start": reference_of(photo), "start_strength": 0.6, "target": 64}
    one, other = (pictures(photo, **start, variation_strength=s)[0] for s in (0.0, 0.5))
    assert not np.array_equal(one, other)
