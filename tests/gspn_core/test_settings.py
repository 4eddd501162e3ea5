from __future__ import annotations

import dataclasses
import json
import math
import pickle
import re

import pytest

from gspn_core.errors import BadSetting, UnsupportedSize
from gspn_core.setting_values import aspect_ratio
from gspn_core.settings import CHOICES, FIELD_NAMES, RANGES, Override, Settings, overrides_text

OPTIONAL = {
    "mixer",
    "scheduler",
    "target",
    "num_inference_steps",
    "guidance_scale",
    "upscale_strength",
    "seed",
}


def settings(**values) -> Settings:
    return Settings(**{"prompt": "a lake", **values})


def test_only_a_prompt_is_needed_and_every_default_lies_in_its_range():
    made = settings()
    for name, bounds in RANGES.items():
        value = getattr(made, name)
        assert (value is None) == (name in OPTIONAL)
        assert value is None or bounds.minimum <= value <= bounds.maximum
    for name, choices in CHOICES.items():
        value = getattr(made, name)
        assert value in choices or (value is None and name in OPTIONAL)


@pytest.mark.parametrize("name", RANGES)
def test_both_bounds_are_allowed_and_nothing_beyond_them(name):
    bounds = RANGES[name]
    for value in (bounds.minimum, bounds.maximum):
        assert getattr(settings(**{name: value}), name) == value
    for value in (bounds.minimum - bounds.step, bounds.maximum + bounds.step, math.inf, -math.inf, math.nan):
        with pytest.raises(BadSetting) as caught:
            settings(**{name: value})
        assert caught.value.field == name
        assert str(caught.value).startswith(name)


def test_an_error_names_the_nearest_number_that_is_allowed():
    with pytest.raises(BadSetting, match=r"guidance_scale must be a number from 1 to 20, got 50; try 20\."):
        settings(guidance_scale=50)
    with pytest.raises(BadSetting, match=r"from 1 to 150, got 0; try 1\."):
        settings(num_inference_steps=0)


@pytest.mark.parametrize("value", [True, "24", [24], 24.5, {}, b"24"])
def test_a_whole_number_is_neither_text_nor_truth_nor_a_fraction(value):
    with pytest.raises(BadSetting, match="whole number"):
        settings(num_inference_steps=value)


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_of_any_length_is_refused_in_a_short_sentence(digits):
    for name, value in (("target", 10**digits), ("guidance_scale", -(10**digits))):
        with pytest.raises(BadSetting) as caught:
            settings(**{name: value})
        assert len(str(caught.value)) < 150


def test_a_whole_float_becomes_an_int_and_an_int_becomes_a_float():
    made = settings(target=512.0, guidance_scale=4)
    assert type(made.target) is int
    assert type(made.guidance_scale) is float


@pytest.mark.parametrize("name", sorted(set(RANGES) - OPTIONAL))
def test_none_is_refused_where_nothing_decides_in_its_place(name):
    with pytest.raises(BadSetting, match=f"{name} is missing"):
        settings(**{name: None})


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_that_is_none_is_refused_with_those_that_are(name):
    with pytest.raises(BadSetting) as caught:
        settings(**{name: "x" * 1000})
    assert all(choice in str(caught.value) for choice in CHOICES[name])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("prompt", ["", "   \n", "a" * 2001, None, 3, "half \ud83d"])
def test_a_prompt_without_words_or_with_too_many_is_refused(prompt):
    with pytest.raises(BadSetting) as caught:
        settings(prompt=prompt)
    assert caught.value.field == "prompt"


def test_the_longest_prompt_and_an_empty_negative_one_are_allowed():
    assert settings(prompt="a" * 2000, negative_prompt="").negative_prompt == ""


@pytest.mark.parametrize(
    ("aspect", "ratio"), [("1:1", 1.0), ("3:2", 1.5), ("4:1", 4.0), ("1:4", 0.25), ("1920:1080", 16 / 9)]
)
def test_an_aspect_is_width_over_height(aspect, ratio):
    assert aspect_ratio(aspect) == pytest.approx(ratio)


@pytest.mark.parametrize(
    "aspect", ["", "3", "3:0", "0:3", "3:2\n", " 3:2", "-3:2", "1.5:1", "٣:2", "9:2", "1:5", None]
)
def test_an_aspect_that_is_none_or_too_long_is_refused(aspect):
    with pytest.raises(UnsupportedSize) as caught:
        settings(aspect=aspect)
    assert caught.value.field == "aspect"


def test_a_dict_brings_every_field_back():
    made = settings(target=512, aspect="3:2", mixer="attention", seed=3, gaussian_sigma=1.5)
    assert set(made.to_dict()) == set(FIELD_NAMES)
    assert Settings.from_dict(made.to_dict()) == made


def test_an_unknown_name_is_refused_and_so_is_a_missing_prompt():
    with pytest.raises(BadSetting, match="cosine_scale_4 is not a setting"):
        Settings.from_dict({"prompt": "a", "cosine_scale_4": 1.0})
    with pytest.raises(BadSetting, match="prompt is missing"):
        Settings.from_dict({"seed": 1})


def test_settings_cannot_be_changed_and_travel_between_processes():
    made = settings(seed=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seed = 2
    assert pickle.loads(pickle.dumps(made)) == made


def test_an_error_travels_between_processes_with_its_field():
    error = pickle.loads(pickle.dumps(UnsupportedSize("aspect", "aspect must look like 3:2.")))
    assert (type(error), error.field, str(error)) == (UnsupportedSize, "aspect", "aspect must look like 3:2.")


def test_overrides_are_the_same_as_text_as_names_and_values_and_as_themselves():
    made = settings(overrides="256.upscale_strength=0.3\n128.seed=4; 128.prompt=a hill")
    assert [(o.stage_px, o.name, o.value) for o in made.overrides] == [
        (128, "prompt", "a hill"),
        (128, "seed", 4),
        (256, "upscale_strength", 0.3),
    ]
    for given in (
        made.overrides,
        made.to_dict()["overrides"],
        json.loads(json.dumps(made.to_dict()))["overrides"],
    ):
        assert settings(overrides=given) == made
    assert hash(made) == hash(settings(overrides=made.overrides))


@pytest.mark.parametrize(
    "prompt",
    ["a hill; 128.seed=4", "two\nlines", '"quoted"', " led by a space", 'a "lake', "a \\ b", "ends;"],
)
def test_any_prompt_comes_back_from_the_text_of_overrides(prompt):
    made = settings(
        overrides=[
            {"stage_px": 128, "name": "prompt", "value": prompt},
            Override(stage_px=64, name="seed", value=1),
        ]
    )
    assert settings(overrides=overrides_text(made.overrides)) == made


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("strength 0.3", "must look like 1024.upscale_strength=0.3"),
        ("1024.strength=0.3", "'strength' cannot be overridden"),
        ("1024.target=256", "'target' cannot be overridden"),
        ("1024.seed=", "must be a whole number"),
        ("1024.upscale_strength=7", "at 1024 px, upscale_strength must be a number from 0.02 to 1"),
        ("1024.seed=1;1024.seed=2", "1024.seed is given twice"),
        ("1.seed=1", "from 64 to 16384, got 1"),
        ([{"stage_px": 128, "name": "seed"}], "must be a list"),
        ([3], "must be a list"),
        (None, "must be a list"),
        ([{"stage_px": 128, "name": "seed", "value": None}], "has no value"),
        ([{"stage_px": 128, "name": ["seed"], "value": 1}], "cannot be overridden"),
    ],
)
def test_an_override_that_cannot_be_is_refused_in_a_sentence(given, said):
    with pytest.raises(BadSetting, match=re.escape(said)) as caught:
        settings(overrides=given)
    assert caught.value.field == "overrides"
    assert len(str(caught.value)) < 400


def test_a_stage_reads_its_own_values_and_the_runs_for_the_rest():
    made = settings(gaussian_sigma=1.5, seed=3, overrides="128.seed=4")
    assert made.at_stage(128) == settings(gaussian_sigma=1.5, seed=4)
    assert made.at_stage(256) == settings(gaussian_sigma=1.5, seed=3)
