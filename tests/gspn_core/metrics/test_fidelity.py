import math

import numpy as np
import pytest
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.metrics.arrays import same_size
from gspn_core.metrics.fidelity import difference_map, psnr, ssim


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def grey(value: int, height: int = 32, width: int = 48) -> Image.Image:
    return Image.new("RGB", (width, height), (value, value, value))


def test_equal_pictures_are_infinitely_near_and_wholly_alike():
    picture = noise(300, 40)
    assert psnr(picture, picture) == math.inf
    assert ssim(picture, picture) == pytest.approx(1)
    assert difference_map(picture, picture)[0].getextrema() == ((0, 0), (32, 32), (77, 77))


@pytest.mark.parametrize("step", [1, 5, 255])
def test_the_psnr_of_a_constant_difference_is_known(step):
    assert psnr(grey(0), grey(step)) == pytest.approx(20 * math.log10(255 / step))


def test_the_psnr_of_one_changed_value_is_known():
    one = noise(600, 30)
    pixels = np.array(one)
    pixels[500, 7, 1] ^= 16
    assert psnr(one, Image.fromarray(pixels)) == pytest.approx(10 * math.log10(255**2 * pixels.size / 256))


def test_the_ssim_of_two_flat_pictures_is_that_of_their_means():
    c1 = (0.01 * 255) ** 2
    wanted = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert ssim(grey(100), grey(150)) == pytest.approx(wanted, rel=1e-5)


def test_the_ssim_of_a_window_follows_its_formula():
    one, other = noise(11, 11, 1), noise(11, 11, 2)
    x, y = (np.asarray(p).astype(float) @ [0.299, 0.587, 0.114] for p in (one, other))
    axis = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    w = np.outer(axis, axis) / axis.sum() ** 2
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy, cov = (w * x * x).sum() - mx**2, (w * y * y).sum() - my**2, (w * x * y).sum() - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    wanted = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(one, other) == pytest.approx(wanted, rel=1e-4)


def test_bands_do_not_change_the_ssim():
    one, other = noise(530, 20, 1), noise(530, 20, 2)
    rows = [ssim(one.crop((0, t, 20, t + 11)), other.crop((0, t, 20, t + 11))) for t in range(520)]
    assert ssim(one, other) == pytest.approx(np.mean(rows), rel=1e-5)


def test_noise_is_less_alike_than_a_slight_blur():
    picture = noise(64, 64)
    assert ssim(picture, noise(64, 64, 9)) < 0.1 < ssim(picture, Image.blend(picture, noise(64, 64, 9), 0.2))


def test_a_difference_is_light_where_it_is_and_its_scale_is_given():
    one = grey(100, 40, 40)
    pixels = np.array(one)
    pixels[:20] += 50
    heat, top = difference_map(one, Image.fromarray(pixels))
    assert top == pytest.approx(50)
    assert heat.getpixel((5, 5)) == (255, 234, 70)
    assert heat.getpixel((5, 35)) == (0, 32, 77)


def test_noise_of_one_level_does_not_fill_the_scale():
    assert difference_map(grey(100), grey(101))[1] == 8.0


@pytest.mark.parametrize("measure", [psnr, ssim, difference_map])
def test_pictures_of_two_sizes_are_refused_with_both(measure):
    with pytest.raises(BadSetting, match="48×32 and 40×32"):
        measure(grey(1), grey(1, 32, 40))


def test_a_picture_smaller_than_the_window_is_refused():
    with pytest.raises(BadSetting, match="11 px a side"):
        ssim(grey(1, 10, 30), grey(1, 10, 30))


def test_two_sizes_meet_at_the_smaller_and_no_larger_than_asked():
    one, other = same_size(noise(64, 96), noise(256, 384))
    assert one.size == other.size == (96, 64)
    assert [p.size for p in same_size(noise(64, 96), noise(256, 384), 48)] == [(48, 32)] * 2
    with pytest.raises(BadSetting, match="other shapes"):
        same_size(noise(64, 64), noise(64, 96))


def test_a_shrunk_picture_has_the_means_of_its_areas():
    large = noise(64, 64)
    _, small = same_size(noise(32, 32), large)
    means = np.asarray(large).reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(np.asarray(small) - means).max() <= 1
