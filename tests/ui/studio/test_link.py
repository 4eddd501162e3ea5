"""An address with settings in it fills the form, or says in one sentence why it cannot."""

from __future__ import annotations

import dataclasses

import pytest

from gspn_core.errors import BadSetting
from gspn_core.models.catalog import WORLD
from gspn_core.settings import FIELD_NAMES
from ui.form.form import initial_values, settings_from
from ui.studio.forecast import changed_settings
from ui.studio.link import settings_in


def test_an_address_without_settings_changes_nothing(card):
    assert settings_in({}, card) is None
    assert settings_in({"job": "a" * 22, "place": "lab", "__theme": "dark"}, card) is None


def test_what_an_address_names_is_held_and_the_rest_is_the_models(card):
    held = settings_in(
        {"prompt": "a toy boat", "seed": "7", "target": "256", "upscale_strength": "0.3", "job": "x"}, card
    )
    asked = settings_from([held[name] for name in FIELD_NAMES])
    assert (asked.prompt, asked.seed, asked.target, asked.upscale_strength) == ("a toy boat", 7, 256, 0.3)
    plain = initial_values(card)
    changed = {"prompt", "seed", "target", "upscale_strength"}
    assert all(held[name] == plain[name] for name in FIELD_NAMES if name not in changed)
    assert settings_in({"target": "128"}, card)["seed"] == ""
    assert settings_in({"target": "128.0", "seed": ""}, card)["target"] == 128
    assert settings_in({"seed": "", "target": ""}, card) is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"target": "100"}, "target"),
        ({"target": "x"}, "target"),
        ({"seed": "-1"}, "seed"),
        ({"seed": "9" * 5000}, "seed"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "x" * 5000}, "prompt"),
        ({"mixer": "magic"}, "mixer"),
        ({"guidance_scale": "nan"}, "guidance_scale"),
        ({"guidance_scale": "1e999"}, "guidance_scale"),
        ({"overrides": "256.seed=1\n" * 1000}, "overrides"),
        ({"target": "256.5"}, "target"),
        ({"overrides": "9999.seed=1"}, "overrides"),
        ({"ladder": "x9:128"}, "ladder"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(query, field, card):
    with pytest.raises(BadSetting) as refusal:
        settings_in(query, card)
    assert refusal.value.field == field and str(refusal.value).endswith(".")


def test_no_address_brings_an_init_image(card):
    assert settings_in({"start": "100x100-" + 64 * "a", "start_strength": "0.5"}, card) is None


@pytest.mark.parametrize("ladder", ["", "64 256"])
@pytest.mark.parametrize("target", [64, 128, 256])
def test_of_an_address_with_a_size_only_the_size_is_changed(card, ladder, target):
    own = dataclasses.replace(card, ladder=ladder)
    held = settings_in({"target": str(target)}, own)
    assert set(changed_settings([held[name] for name in FIELD_NAMES], own)) <= {"target"}


def test_no_size_of_the_embedded_model_changes_its_stages():
    for target in WORLD.targets:
        held = settings_in({"target": str(target)}, WORLD)
        changed = changed_settings([held[name] for name in FIELD_NAMES], WORLD)
        assert changed == (() if target == WORLD.default_target_px else ("target",))


def test_stages_that_an_address_names_are_changed(card):
    held = settings_in({"ladder": "64 256"}, card)
    assert changed_settings([held[name] for name in FIELD_NAMES], card) == ("ladder",)
