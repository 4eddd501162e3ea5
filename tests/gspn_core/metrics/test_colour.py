"""Colours as L*a*b*, and local colour differences of made pictures."""

import numpy as np
import pytest
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.metrics.colour import lab, local_colour_difference


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(60, 190, (side, side, 3), dtype=np.uint8)


def picture(values):
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_known_colours_have_their_published_coordinates(colour, expected):
    assert lab(np.array(colour)) == pytest.approx(expected, abs=0.02)
    assert lab(np.full((2, 3, 3), colour))[1, 2] == pytest.approx(expected, abs=0.02)


def test_equal_pictures_have_no_local_difference_and_a_cast_has_its_own():
    truth = noise(64)
    assert local_colour_difference(picture(truth), picture(truth)) == 0
    slight, strong = (picture(truth + np.array([0, 0, step])) for step in (10, 40))
    first = local_colour_difference(slight, picture(truth))
    assert 3 < first < local_colour_difference(strong, picture(truth))


def test_detail_finer_than_a_square_does_not_count_and_a_moved_colour_does():
    flat = np.full((64, 64, 3), 120)
    fine = flat + 20 * (np.indices((64, 64)).sum(0) % 2 * 2 - 1)[..., None]
    assert local_colour_difference(picture(fine), picture(flat)) < 0.1
    left, right = flat.copy(), flat.copy()
    left[:, :32, 0] += 80
    right[:, 32:, 0] += 80
    assert local_colour_difference(picture(left), picture(right)) > 20


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(BadSetting, match="64×64 and 32×32"):
        local_colour_difference(picture(noise(64)), picture(noise(32)))
    with pytest.raises(BadSetting, match="16 px a side or more"):
        local_colour_difference(picture(noise(8)), picture(noise(8)))
