import numpy as np
import pytest
from PIL import Image

from gspn_core.extension import Margins
from gspn_core.images.extended import extended


@pytest.mark.parametrize(
    "margins", [Margins(8, 0, 0, 0), Margins(0, 24, 0, 0), Margins(0, 0, 96, 0), Margins(200, 96, 16, 150)]
)
def test_the_picture_is_on_the_canvas_byte_for_byte_and_joins_what_is_added(margins):
    left, right, top, bottom = margins
    pixels = np.random.default_rng(0).integers(0, 256, (6, 12, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((96, 72), Image.Resampling.BICUBIC)
    canvas = np.asarray(extended(image, 72, 96, margins))
    assert canvas.shape == (72 + top + bottom, 96 + left + right, 3)
    inner = canvas[top : top + 72, left : left + 96]
    assert np.array_equal(inner, np.asarray(image))
    # Mirrored at the edge, so that nothing jumps there.
    steps = np.abs(np.diff(canvas.astype(int), axis=1))
    joints = [at for at, margin in ((left - 1, left), (left + 95, right)) if margin]
    assert all(steps[:, at].mean() < 12 for at in joints)


def test_a_picture_of_another_size_is_resized_as_any_init_image():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8))
    canvas = extended(image, 64, 80, Margins(right=16))
    assert canvas.crop((0, 0, 80, 64)).tobytes() == image.resize((80, 64), Image.Resampling.LANCZOS).tobytes()


def test_what_is_far_from_the_picture_is_smoother_than_what_is_near():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    rough = np.asarray(extended(noise, 64, 64, Margins(right=64)), float).std((0, 2))
    assert rough[65] > 4 * rough[120]
