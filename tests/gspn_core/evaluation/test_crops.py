"""Squares cut out of pictures, and pictures enlarged."""

import numpy as np
import pytest
from PIL import Image

from gspn_core.evaluation.crops import crop_places, cut, enlarge


def marked(side):
    """Return a picture whose red and green are the row and the column in steps of side / 256."""
    place = (np.arange(side) * 256 // side).astype(np.uint8)
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = place[:, None], place[None, :]
    return Image.fromarray(pixels)


def test_all_pictures_of_a_number_are_cut_at_the_same_places():
    assert crop_places(7, 512, 128, 5) == crop_places(7, 512, 128, 5)
    assert crop_places(7, 512, 128, 5) != crop_places(8, 512, 128, 5)


def test_crops_are_the_pixels_at_their_places():
    picture = marked(256)
    places = crop_places(3, 256, 64, 4)
    crops = [*cut(picture, 3, 64, 4)]
    assert [crop.shape for crop in crops] == [(64, 64, 3)] * 4
    assert [(int(crop[0, 0, 0]), int(crop[0, 0, 1])) for crop in crops] == [*places]


def test_a_picture_of_the_crop_size_is_its_only_crop():
    picture = marked(64)
    (crop,) = cut(picture, 3, 64, 4)
    np.testing.assert_array_equal(crop, np.asarray(picture))


@pytest.mark.parametrize("method", ["bicubic", "lanczos"])
def test_an_enlargement_keeps_every_place(method):
    large = np.asarray(enlarge(marked(64), 256, method), dtype=int)
    assert np.abs(large[10:-10, 10:-10] - np.asarray(marked(256), dtype=int)[10:-10, 10:-10]).max() < 6
