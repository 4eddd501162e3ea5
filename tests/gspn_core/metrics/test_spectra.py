"""The finest octave of made pictures."""

import numpy as np
import pytest
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.metrics.spectra import busiest_place, compare_octaves, octave_energy


def noise(side=128, seed=0, spread=30.0):
    return 128 + np.random.default_rng(seed).normal(0, spread, (side, side))


def picture(values):
    return Image.fromarray(np.repeat(np.clip(values, 0, 255).round()[..., None], 3, 2).astype(np.uint8))


def wave(cycles_per_px, side=128, height=40):
    return 128 + height * np.sin(2 * np.pi * cycles_per_px * np.arange(side))[None, :].repeat(side, 0)


def enlarged(image):
    small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def finest_octave(image, truth):
    (found,) = compare_octaves(image, truth, 1)
    return found


def test_the_truth_has_its_own_energy_and_full_coherence():
    truth = picture(noise())
    found = finest_octave(truth, truth)
    assert found.energy == found.true_energy == pytest.approx(octave_energy(truth))
    assert found.coherence == pytest.approx(1)


def test_the_energy_is_the_mean_square_of_the_band():
    assert octave_energy(picture(wave(0.35))) == pytest.approx(40**2 / 2, rel=0.02)
    assert octave_energy(picture(wave(0.1))) < 1
    ring = np.pi * (0.5**2 - 0.25**2)
    assert octave_energy(picture(noise(256))) == pytest.approx(30**2 * ring, rel=0.05)


def test_an_enlargement_has_little_of_the_octave():
    truth = picture(noise())
    found = finest_octave(enlarged(truth), truth)
    assert found.energy < 0.02 * found.true_energy


def test_made_up_detail_has_the_energy_without_the_coherence():
    truth, invented = picture(noise()), picture(noise(seed=1))
    found = finest_octave(invented, truth)
    assert found.energy == pytest.approx(found.true_energy, rel=0.1)
    assert abs(found.coherence) < 0.03


def test_half_of_the_true_detail_is_coherent_and_a_quarter_of_the_energy():
    values = noise()
    found = finest_octave(picture(128 + 0.5 * (values - 128)), picture(values))
    assert found.energy == pytest.approx(0.25 * found.true_energy, rel=0.02)
    assert found.coherence > 0.99


def test_each_octave_holds_its_own_frequencies():
    truth = picture(wave(0.35) + wave(0.18) + wave(0.09) - 256)
    finest, second, third = compare_octaves(enlarged(truth), truth, 3)
    assert finest.true_energy == pytest.approx(second.true_energy, rel=0.1)
    assert third.true_energy == pytest.approx(second.true_energy, rel=0.1)
    assert finest.energy < second.energy < 0.5 * third.energy
    assert third.coherence > 0.8


def test_the_truth_reversed_is_incoherent():
    values = noise()
    assert finest_octave(picture(256 - values), picture(values)).coherence < -0.9


def test_flat_pictures_agree_and_a_flat_one_shares_nothing_with_noise():
    flat = picture(np.full((64, 64), 90.0))
    assert finest_octave(flat, flat).coherence == 1
    assert finest_octave(flat, picture(noise(64))).coherence == 0


def test_pictures_larger_than_a_block_are_measured_as_their_blocks():
    block = noise(1024, spread=20)
    once = octave_energy(picture(block))
    assert octave_energy(picture(np.tile(block, (1, 2)))) == pytest.approx(once, rel=1e-3)


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(BadSetting, match="64×64 and 32×32 px"):
        finest_octave(picture(noise(64)), picture(noise(32)))


def test_the_busiest_place_is_where_the_fine_detail_is():
    values = np.full((128, 128), 100.0)
    values[64:96, 24:56] += 60 * (np.indices((32, 32)).sum(0) % 2)
    values[:40, 80:] = 220
    assert busiest_place(picture(values), 32) == (64, 24)
    with pytest.raises(BadSetting, match="no square of 256 px"):
        busiest_place(picture(values), 256)
