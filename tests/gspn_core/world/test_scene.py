from __future__ import annotations

import numpy as np
import pytest

from gspn_core.world.scene import ATTRIBUTES, Scene, sample_scene


def make(**changes) -> Scene:
    values = {
        "time": "dusk",
        "sky": "clear",
        "celestial": "sun",
        "terrain": "mountains",
        "cover": "snowy",
        "foreground": "lake",
        "seed": 3,
    }
    return Scene(**values | changes)


def test_attributes_lists_every_attribute_in_the_declared_order():
    attributes = make().attributes()
    assert tuple(attributes) == tuple(ATTRIBUTES)
    assert attributes["terrain"] == "mountains"
    assert "seed" not in attributes


def test_sampling_reaches_every_value_of_every_attribute():
    rng = np.random.default_rng(0)
    seen = {name: set() for name in ATTRIBUTES}
    for _ in range(800):
        for name, value in sample_scene(rng).attributes().items():
            seen[name].add(value)
    assert seen == {name: set(values) for name, values in ATTRIBUTES.items()}


def test_the_same_generator_state_samples_the_same_scene():
    assert sample_scene(np.random.default_rng(5)) == sample_scene(np.random.default_rng(5))


def test_there_are_nine_families_and_every_pair_of_values_that_goes_together_is_sampled():
    assert len(ATTRIBUTES) >= 9
    rng = np.random.default_rng(1)
    pairs = {(s.terrain, s.foreground) for s in (sample_scene(rng) for _ in range(4000))}
    for terrain in ATTRIBUTES["terrain"]:
        cover = "sandy" if terrain == "dunes" else "rocky"
        for foreground in ATTRIBUTES["foreground"]:
            try:
                make(terrain=terrain, cover=cover, foreground=foreground)
            except ValueError:
                assert (terrain, foreground) not in pairs or cover == "rocky"
            else:
                assert (terrain, foreground) in pairs


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"time": "noon"}, "time"),
        ({"celestial": "moon"}, "celestial"),
        ({"time": "night"}, "celestial"),
        ({"terrain": "dunes"}, "terrain"),
        ({"cover": "sandy"}, "terrain"),
        ({"foreground": "desert"}, "cover"),
        ({"foreground": "meadow", "object": "sailboat"}, "object"),
        ({"weather": "rain", "celestial": "none"}, "weather"),
        ({"sky": "aurora"}, "sky"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_scene_that_makes_no_sense_is_refused_by_name(changes, name):
    with pytest.raises(ValueError, match=f"^{name} .*\\.$"):
        make(**changes)
