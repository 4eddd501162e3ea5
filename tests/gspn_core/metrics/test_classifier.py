"""The classifier at toy size, on hand-made data."""

import numpy as np
import pytest
import torch

from gspn_core.errors import ModelUnavailable
from gspn_core.metrics.classifier import Classifier, look, read_classifier, save_classifier
from gspn_core.training.classifier_training import (
    checkpoint,
    held_out_accuracy,
    load_classifier,
    train_classifier,
)
from gspn_core.training.data import RenderCache, view_of
from gspn_core.training.loop import LoopConfig
from gspn_core.world.scene import ATTRIBUTES

TINTS = ((200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 200))
CHOICES = {"light": ("dark", "bright"), "hue": ("red", "green", "blue")}


@pytest.fixture
def small(monkeypatch):
    """Make every classifier of the test tiny."""
    monkeypatch.setattr(Classifier.__init__, "__defaults__", (ATTRIBUTES, (8, 8), 8))


@pytest.fixture
def cache(tmp_path):
    made = RenderCache.create(tmp_path / "data", count=12, base_px=32, seed=0)
    made.fill(processes=1)
    return made


def pictures(count=5, side=32):
    return np.random.default_rng(0).integers(0, 256, size=(count, side, side, 3), dtype=np.uint8)


def test_looking_batch_by_batch_sees_what_looking_at_once_sees():
    torch.manual_seed(0)
    classifier = Classifier(CHOICES, (8, 8), 8).eval()
    at_once, by_two = (look(classifier, iter(pictures()), batch=size) for size in (5, 2))
    assert at_once.features.shape == (5, 8) and at_once.features.dtype == np.float64
    np.testing.assert_allclose(by_two.features, at_once.features, atol=0.02)
    assert set(at_once.values) == set(CHOICES)
    assert all(value in CHOICES["hue"] for value in at_once.values["hue"])


def test_the_value_seen_is_the_one_with_the_largest_logit():
    classifier = Classifier(CHOICES, (8, 8), 8).eval()
    with torch.no_grad():
        classifier.heads["hue"].bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    assert look(classifier, pictures(3)).values["hue"] == ("green",) * 3


def test_looking_at_nothing_is_refused():
    with pytest.raises(ValueError, match="no picture"):
        look(Classifier(CHOICES, (8, 8), 8), [])


@pytest.mark.usefixtures("small")
def test_it_learns_an_attribute_that_its_pictures_show(tmp_path):
    cache = RenderCache.create(tmp_path / "data", count=48, base_px=32, seed=0)
    for number in range(cache.count):
        scene = view_of(number, seed=0, base_px=32).scene
        tint = TINTS[ATTRIBUTES["time"].index(scene.time)]
        cache.images[number] = np.array(tint, dtype=np.uint8) + pictures(1)[0] // 8
    cache._done[:] = 1
    loop = LoopConfig(minutes=60, max_steps=80, learning_rate=1e-2, warmup_steps=5, average_decay=0.9)
    trained = train_classifier(cache, tmp_path, loop, batch=16)
    assert held_out_accuracy(trained, cache)["all"]["time"] == 1.0


@pytest.mark.usefixtures("small")
def test_a_trained_one_is_read_again_and_training_resumes(cache, tmp_path):
    loop = LoopConfig(minutes=5, max_steps=2, log_steps=1)
    trained = train_classifier(cache, tmp_path, loop, batch=3)
    read = load_classifier(tmp_path)
    np.testing.assert_array_equal(look(read, pictures()).features, look(trained, pictures()).features)
    train_classifier(cache, tmp_path, LoopConfig(minutes=5, max_steps=3, log_steps=1), batch=3)
    assert torch.load(checkpoint(tmp_path, read), weights_only=True)["step"] == 3


@pytest.mark.usefixtures("small")
def test_accuracy_is_given_for_every_attribute_of_held_out_pictures(cache):
    found = held_out_accuracy(Classifier().eval(), cache)
    assert set(found["all"]) == set(ATTRIBUTES)
    assert all(0 <= share <= 1 for shares in found.values() for share in shares.values())


def test_a_world_of_other_attributes_has_another_checkpoint(tmp_path):
    widths = ((8, 8), 8)
    renamed = {"light": ("dark", "bright"), "hue": ("red", "green", "violet")}
    places = {checkpoint(tmp_path, Classifier(choices, *widths)) for choices in (CHOICES, renamed)}
    assert len(places) == 2


def test_a_missing_classifier_is_named_with_its_remedy(tmp_path):
    with pytest.raises(ModelUnavailable, match="evaluation classifier"):
        load_classifier(tmp_path)


@pytest.mark.usefixtures("small")
def test_a_published_one_sees_what_it_saw_before(tmp_path):
    torch.manual_seed(0)
    classifier = Classifier().to(memory_format=torch.channels_last).eval()
    save_classifier(classifier, tmp_path / "classifier.safetensors")
    read = read_classifier(tmp_path / "classifier.safetensors")
    np.testing.assert_allclose(
        look(read, pictures()).features, look(classifier, pictures()).features, atol=0.03
    )


def test_a_published_one_of_another_world_is_refused(tmp_path):
    save_classifier(Classifier(CHOICES, (8, 8), 8), tmp_path / "classifier.safetensors")
    with pytest.raises(ModelUnavailable, match="other attributes"):
        read_classifier(tmp_path / "classifier.safetensors")


def test_a_file_that_is_cut_off_is_one_sentence(tmp_path):
    path = tmp_path / "classifier.safetensors"
    save_classifier(Classifier(CHOICES, (8, 8), 8), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        read_classifier(path)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        read_classifier(tmp_path / "none.safetensors")
