"""Figures of synthetic pictures against a synthetic truth, and their means over scenes."""

import math

import numpy as np
import pytest
from PIL import Image

from gspn_core.evaluation.crops import enlarge
from gspn_core.evaluation.pairs import (
    MOST_DB,
    SceneFigures,
    ScenePair,
    adherence_of,
    frechet_from,
    jackknife,
    mean_of,
    measure_picture,
    object_adherence_of,
    octave_share_of,
    perceptual_distance,
    seconds_of,
)
from gspn_core.evaluation.prompts import held_out_prompts
from gspn_core.world.scene import ATTRIBUTES

BASE, LARGE = 64, 256


@pytest.fixture(scope="module")
def pairs():
    """Scenes of noise with the 1/f fall of natural pictures, and their bases."""
    return [made_pair(prompt) for prompt in held_out_prompts(4)]


def made_pair(prompt):
    rng = np.random.default_rng(prompt.number)
    fall = np.hypot(np.fft.fftfreq(LARGE)[:, None], np.fft.rfftfreq(LARGE)[None, :])
    fall[0, 0] = np.inf
    values = np.stack(
        [np.fft.irfft2(np.fft.rfft2(rng.normal(size=(LARGE, LARGE))) / fall) for _ in range(3)], axis=-1
    )
    values = 128 + 40 * values / values.std()
    truth = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    return ScenePair(prompt=prompt, base=truth.resize((BASE, BASE), Image.Resampling.BOX), truth=truth)


def measured(picture, pair, classifier):
    return measure_picture(picture, pair, classifier, crops=3, tile_px=LARGE)


def shifted(image, levels):
    return Image.fromarray((np.asarray(image, int) + np.array(levels)).clip(0, 255).astype(np.uint8))


def test_the_truth_is_as_near_as_can_be(pairs, classifier):
    found = [measured(pair.truth, pair, classifier) for pair in pairs]
    figures = found[0].figures
    assert figures["psnr"] == MOST_DB and figures["ssim"] == pytest.approx(1)
    assert figures["perceptual"] == figures["colour"] == 0
    assert figures["coherence 1"] == pytest.approx(1) and octave_share_of(1)(found) == 1
    truths = {scene.prompt.number: scene.crops for scene in found}
    assert frechet_from(truths)(found) == pytest.approx(0, abs=1e-6)


def test_methods_that_keep_less_come_out_farther_in_every_figure(pairs, classifier):
    truths, near, far = (
        [measured(make(pair), pair, classifier) for pair in pairs]
        for make in (
            lambda pair: pair.truth,
            lambda pair: Image.blend(pair.truth, enlarge(pair.base, LARGE, "bicubic"), 0.5),
            lambda pair: enlarge(pair.base, LARGE, "bicubic"),
        )
    )
    for name, better in (("psnr", 1), ("ssim", 1), ("perceptual", -1), ("colour", -1)):
        values = [better * mean_of(name)(scenes) for scenes in (truths, near, far)]
        assert values == sorted(values, reverse=True), name
    shares = [octave_share_of(1)(scenes) for scenes in (truths, near, far)]
    assert shares[1] == pytest.approx(0.25, abs=0.05) and shares[2] < 0.05
    distance = frechet_from({scene.prompt.number: scene.crops for scene in truths})
    assert 0 <= distance(truths) < distance(near) < distance(far)


def test_a_colour_cast_shows_as_local_colour_and_in_no_detail(pairs, classifier):
    plain, cast = (
        measured(picture, pairs[0], classifier).figures
        for picture in (pairs[0].truth, shifted(pairs[0].truth, (0, 0, 20)))
    )
    assert cast["colour"] > 3 > plain["colour"]
    assert cast["coherence 1"] > 0.95


def test_made_up_detail_raises_the_octave_and_not_its_coherence(pairs, classifier):
    pair, other = pairs[:2]
    soft = np.asarray(enlarge(pair.base, LARGE, "bicubic"), int)
    invented = np.asarray(other.truth, int) - np.asarray(enlarge(other.base, LARGE, "bicubic"), int)
    picture = Image.fromarray((soft + invented).clip(0, 255).astype(np.uint8))
    scene = measured(picture, pair, classifier)
    assert octave_share_of(1)([scene]) > 0.8
    assert abs(scene.figures["coherence 1"]) < 0.1
    assert scene.figures["coherence 3"] > 0.7


def test_the_perceptual_distance_is_symmetric_and_grows_with_the_change(pairs, classifier):
    truth, soft = pairs[0].truth, enlarge(pairs[0].base, LARGE, "bicubic")
    apart = perceptual_distance(classifier, truth, soft, BASE)
    assert apart == pytest.approx(perceptual_distance(classifier, soft, truth, BASE))
    assert 0 < perceptual_distance(classifier, truth, Image.blend(truth, soft, 0.3), BASE) < apart


def test_pictures_that_no_tiles_fill_are_covered_to_their_edges(classifier):
    flat = np.full((80, 112, 3), 90, np.uint8)
    for place in ((0, 0), (79, 111), (0, 111), (79, 0)):
        changed = flat.copy()
        changed[place] = 255
        distance = perceptual_distance(classifier, Image.fromarray(flat), Image.fromarray(changed), BASE)
        assert distance > 0


def scene(number, seen_right, value=0.0, seconds=None):
    prompt = held_out_prompts(number + 1)[number]
    shown = prompt.scene.attributes()
    wrong = {name: next(v for v in ATTRIBUTES[name] if v != value) for name, value in shown.items()}
    return SceneFigures(
        prompt=prompt,
        figures={"psnr": value},
        crops=np.zeros((1, 2)),
        seen=shown if seen_right else wrong,
        seconds=seconds,
    )


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = [20.0, 23.0, 21.5, 30.0]
    scenes = [scene(number, True, value) for number, value in enumerate(values)]
    estimate = jackknife(mean_of("psnr"), scenes)
    assert estimate.value == pytest.approx(np.mean(values))
    assert estimate.error == pytest.approx(np.std(values, ddof=1) / 2)


def test_one_scene_has_no_spread_and_what_was_not_timed_has_no_seconds():
    assert jackknife(mean_of("psnr"), [scene(0, True)]).error is None
    assert math.isnan(seconds_of([scene(0, True)]))
    assert seconds_of([scene(0, True), scene(1, True, seconds=2.0), scene(2, True, seconds=4.0)]) == 3


def test_adherence_counts_what_captions_name_and_objects_apart():
    right, wrong = ([scene(number, good) for number in range(8)] for good in (True, False))
    assert adherence_of(right) == object_adherence_of(right) == 1
    assert adherence_of(wrong) == object_adherence_of(wrong) == 0
    without = [each for each in right if each.prompt.scene.object == "none"][:1]
    assert without and math.isnan(object_adherence_of(without))
