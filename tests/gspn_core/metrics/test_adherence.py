"""How much of a prompt a picture shows: by a network that always sees the same, and by the shipped one."""

import numpy as np
import pytest
import torch
from PIL import Image

from gspn_core.errors import ModelUnavailable
from gspn_core.metrics.adherence import PromptAdherence
from gspn_core.metrics.classifier import Classifier, save_classifier
from gspn_core.world.render.draw import render
from gspn_core.world.scene import ATTRIBUTES, Scene

GREY = Image.new("RGB", (64, 64), (127, 127, 127))


@pytest.fixture
def sees(tmp_path):
    """Return a function that makes an adherence whose network sees these values in every picture."""

    def make(**values) -> PromptAdherence:
        torch.manual_seed(0)
        classifier = Classifier()
        with torch.no_grad():
            for name, value in values.items():
                classifier.heads[name].bias[ATTRIBUTES[name].index(value)] = 100.0
        save_classifier(classifier, tmp_path / "classifier.safetensors")
        return PromptAdherence(tmp_path / "classifier.safetensors")

    return make


def test_it_is_the_share_of_what_the_prompt_names(sees):
    adherence = sees(time="night", object="birds", weather="fog")
    assert adherence("birds at night in the fog", GREY) == 1.0
    assert adherence("birds by day in the fog", GREY) == pytest.approx(2 / 3)
    assert adherence("a sailboat by day", GREY) == 0.0


def test_of_two_values_either_counts(sees):
    assert sees(time="night")("at noon or at night", GREY) == 1.0


def test_a_prompt_that_names_nothing_has_no_share(sees):
    assert sees(time="night")("a dragon", GREY) is None


def test_pictures_of_any_shape_are_looked_at(sees):
    adherence = sees(time="night")
    for size in ((31, 900), (1500, 300), (8, 8)):
        assert adherence("at night", Image.new("RGB", size)) == 1.0


def test_a_missing_network_is_one_sentence(tmp_path):
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        PromptAdherence(tmp_path / "none.safetensors")("at night", GREY)


def test_the_shipped_network_tells_night_from_day_and_reads_both_off_a_larger_picture():
    adherence = PromptAdherence()
    common = {"sky": "clear", "terrain": "mountains", "cover": "snowy", "foreground": "lake"}
    for time, celestial in (("night", "moon"), ("day", "sun")):
        scene = Scene(time=time, celestial=celestial, **common, seed=5)
        picture = Image.fromarray(np.asarray(render(scene, height=512, width=512)))
        assert adherence({"night": "at night", "day": "by day"}[time], picture) == 1.0
        assert adherence({"night": "by day", "day": "at night"}[time], picture) == 0.0
