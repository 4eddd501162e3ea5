import math

import numpy as np
import pytest
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.metrics.structure import (
    colour_drift,
    consistency,
    detail,
    repetition,
    seams,
    spectrum_slope,
)


def picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.repeat(np.clip(values, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (height, width))


def wave(cycles_per_px: float, side: int = 256) -> Image.Image:
    return picture(128 + 100 * np.cos(2 * math.pi * cycles_per_px * np.arange(side))[None, :].repeat(side, 0))


def test_a_base_doubled_by_repeating_pixels_is_wholly_consistent():
    base = picture(noise(32, 48))
    assert consistency(base.resize((96, 64), Image.Resampling.NEAREST), base) == math.inf
    brighter = base.resize((96, 64), Image.Resampling.NEAREST).point(lambda value: min(value + 5, 255))
    assert 30 < consistency(brighter, base) < 40


def test_a_smaller_picture_was_not_made_from_a_larger():
    for measure in (consistency, colour_drift):
        with pytest.raises(BadSetting, match="give the larger one first"):
            measure(picture(noise(16, 16)), picture(noise(32, 32)))


def test_only_what_the_base_could_not_hold_is_detail():
    assert detail(wave(0.10), 64) < 0.01
    assert detail(wave(0.05), 128) < 0.01
    assert detail(wave(0.40), 128) > 0.99
    assert detail(picture(np.full((64, 64), 9.0)), 32) == 0


def test_white_noise_has_the_detail_of_its_area_in_the_spectrum():
    share = 1 - math.pi * 0.25**2
    assert detail(picture(noise(512, 512)), 256) == pytest.approx(share, abs=0.02)


def test_detail_over_many_blocks_is_that_of_each():
    block = noise(1024, 1024)
    once = detail(picture(block), 512)
    assert detail(picture(np.tile(block, (1, 2))), 1024) == pytest.approx(once, rel=1e-3)


def test_a_base_wider_than_the_picture_is_refused():
    with pytest.raises(BadSetting, match="a base must be 1 to 64 px wide, got 128"):
        detail(picture(noise(64, 64)), 128)


def test_noise_is_flat_and_a_blur_of_it_falls():
    flat = picture(noise(256, 256))
    blurred = flat.resize((64, 64), Image.Resampling.BOX).resize((256, 256), Image.Resampling.BICUBIC)
    assert spectrum_slope(flat) == pytest.approx(0, abs=0.15)
    assert spectrum_slope(blurred) < -1.5


def test_the_drift_of_one_colour_to_another_is_their_distance():
    black, white = (Image.new("RGB", (32, 32), colour) for colour in ("black", "white"))
    assert colour_drift(white, black) == pytest.approx(100, abs=0.01)
    red, green = Image.new("RGB", (64, 64), (255, 0, 0)), Image.new("RGB", (32, 32), (0, 255, 0))
    assert colour_drift(red, green) == pytest.approx(170.6, abs=0.2)
    assert colour_drift(red, Image.new("RGB", (32, 32), (255, 0, 0))) == pytest.approx(0, abs=1e-6)


def test_a_tiled_picture_repeats_itself_and_noise_does_not():
    tile = noise(64, 64, 3)
    assert repetition(picture(np.tile(tile, (4, 4))), 4) > 0.95
    assert repetition(picture(noise(256, 256, 3)), 4) < 0.1
    assert repetition(picture(np.full((64, 64), 7.0)), 2) == 0
    with pytest.raises(BadSetting, match="2 or more base sizes"):
        repetition(picture(tile), 1)


def test_a_slow_gradient_is_no_repetition():
    ramp = np.linspace(0, 200, 256)[None, :] + 0.2 * noise(256, 256)
    assert repetition(picture(ramp), 4) < 0.3


def test_a_step_at_a_tile_edge_is_seen_and_only_there():
    values = noise(64, 96) * 0.1 + 100
    values[:, 48:] += 30
    assert seams(picture(values), [], [48]) > 2.5
    assert seams(picture(values), [32], []) == pytest.approx(1, abs=0.2)
    assert seams(picture(values), [], []) == 1
    with pytest.raises(BadSetting, match="from 1 to 95 px"):
        seams(picture(values), [], [96])
