from __future__ import annotations

import dataclasses
import time

import pytest

from gspn_core.errors import BadSetting
from gspn_core.images.metadata import recipe_of
from gspn_core.images.png import parameters_text, picture_info
from gspn_core.planning.plan import make_plan
from gspn_core.settings import CHOICES, Settings

HERE = {"gspn-studio": "0.1.0", "torch": "2.13.0"}


@pytest.fixture
def own_plan(card):
    asked = Settings(prompt="a lake\nat night", seed=7, guidance_scale=2.5, overrides="256.seed=9")
    return make_plan(asked, card)


def texts(info=None, parameters=None, width=128, height=128) -> dict:
    return {"gspn_studio": info, "parameters": parameters, "width": width, "height": height}


def test_our_own_picture_brings_every_setting_back(own_plan, card):
    recipe = recipe_of(texts(picture_info(own_plan, 1, HERE)), card, HERE)
    assert Settings.from_dict(recipe.settings) == own_plan.settings
    assert (recipe.stage, recipe.is_ours) == (1, True)
    assert not recipe.unknown and not recipe.refused and not recipe.differing


def test_versions_and_model_are_listed_where_they_differ_from_those_here(own_plan, card):
    info = picture_info(own_plan, 1, {**HERE, "torch": "2.12.0"})
    recipe = recipe_of(texts({**info, "model": "another"}), card, HERE)
    assert recipe.differing == {"torch": ("2.12.0", "2.13.0"), "model": ("another", "toy")}


def test_the_number_of_threads_is_listed_where_both_are_known(own_plan, card):
    here = {**HERE, "threads": "2"}
    for there, differing in (({}, {}), ({"threads": "2"}, {}), ({"threads": "4"}, {"threads": ("4", "2")})):
        recipe = recipe_of(texts(picture_info(own_plan, 1, {**HERE, **there})), card, here)
        assert recipe.differing == differing


def test_unknown_names_and_values_out_of_range_are_listed_and_the_rest_is_read(own_plan, card):
    info = picture_info(own_plan, 1, HERE)
    info["settings"] = {**info["settings"], "seed": -1, "target": 999, "mixer": "linear", "hue": 3}
    recipe = recipe_of(texts(info), card, HERE)
    assert recipe.unknown == ["hue: 3"]
    assert [sentence.split()[0] for sentence in recipe.refused] == ["target", "mixer", "seed"]
    assert recipe.settings["guidance_scale"] == 2.5
    assert {"seed", "target", "mixer", "hue"}.isdisjoint(recipe.settings)


@pytest.mark.parametrize("versions", [None, 3, [], {"torch": ["x" * 10_000]}])
@pytest.mark.parametrize("stage", [None, -1, 10**9, "1", [1]])
def test_hostile_values_next_to_the_settings_are_harmless(own_plan, card, versions, stage):
    info = {**picture_info(own_plan, 1, HERE), "versions": versions, "stage": stage, "model": "m" * 10_000}
    recipe = recipe_of(texts(info), card, HERE)
    assert recipe.stage == 0
    assert all(len(there) <= 80 for there, _ in recipe.differing.values())


@pytest.mark.parametrize("scheduler", CHOICES["scheduler"])
def test_the_text_that_we_write_for_other_tools_is_read_as_theirs(card, scheduler):
    asked = Settings(
        prompt="a lake, calm\nsecond line",
        negative_prompt="fog, rain",
        seed=7,
        scheduler=scheduler,
        target=128,
    )
    plan = make_plan(asked, card)
    recipe = recipe_of(texts(parameters=parameters_text(picture_info(plan, 1, HERE))), card, HERE)
    for name in ("prompt", "negative_prompt", "seed", "scheduler", "num_inference_steps", "guidance_scale"):
        assert recipe.settings[name] == getattr(plan.settings, name)
    assert recipe.settings["target"] == 128 and not recipe.is_ours
    assert [entry.split(":")[0] for entry in recipe.unknown] == ["Model", "Version"]


def test_a_picture_of_another_tool_fills_what_fits_and_names_the_rest(card):
    text = (
        "castle, (detailed:1.2), 8k\nNegative prompt: blurry,\nlow quality\n"
        "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 123, Size: 192x128, "
        'Model hash: 31e35c80fc, Model: sd_xl, Lora hashes: "a: 1, b: 2", Version: v1.10.1'
    )
    recipe = recipe_of(texts(parameters=text, width=192, height=128), card, HERE)
    assert recipe.settings == {
        "prompt": "castle, (detailed:1.2), 8k",
        "negative_prompt": "blurry,\nlow quality",
        "num_inference_steps": 28,
        "scheduler": "dpm++2m-karras",
        "guidance_scale": 6.5,
        "seed": 123,
        "target": 128,
        "aspect": "3:2",
    }
    assert [entry.split(":")[0] for entry in recipe.unknown] == [
        "Model hash",
        "Model",
        "Lora hashes",
        "Version",
    ]


def test_values_of_another_tool_that_have_no_setting_here_are_listed(card):
    text = "a castle\nSteps: many, Sampler: Euler a, CFG scale: 99, Seed: -1, Clip skip: 2"
    recipe = recipe_of(texts(parameters=text), card, HERE)
    assert set(recipe.settings) == {"prompt", "negative_prompt", "target", "aspect"}
    assert [sentence.split()[0] for sentence in recipe.refused] == [
        "num_inference_steps",
        "guidance_scale",
        "seed",
    ]
    assert recipe.unknown == ["Sampler: Euler a", "Clip skip: 2"]


def test_a_text_that_is_only_a_prompt_is_one(card):
    recipe = recipe_of(texts(parameters="just: a, prompt with: colons"), card, HERE)
    assert recipe.settings["prompt"] == "just: a, prompt with: colons"


@pytest.mark.parametrize("parameters", [None, "", "  \n "])
def test_a_picture_without_settings_is_refused_in_a_sentence(card, parameters):
    with pytest.raises(BadSetting, match="does not say how it was made"):
        recipe_of(texts(parameters=parameters), card, HERE)


@pytest.mark.parametrize(
    "text",
    [
        "Steps: 1" + ", a: b" * 20_000,
        "x" * 250_000,
        "w " * 120_000,
        "a\nSteps: 1," + "\t " * 120_000 + "x",
        'Steps: 1, a: "' + "\\" * 200_000,
        "<script>\nSteps: 2, <b>: <i>",
        "Steps" * 40_000,
    ],
)
def test_hostile_text_is_read_quickly_and_bounded(card, text):
    began = time.process_time()
    recipe = recipe_of(texts(parameters=text), card, HERE)
    assert time.process_time() - began < 1
    assert len(recipe.unknown) <= 40
    assert all(len(entry) < 100 for entry in recipe.unknown)


def test_a_prompt_that_is_too_long_costs_nothing_but_itself(card):
    text = "p" * 100_000 + "\nSteps: 9, Seed: 5, CFG scale: 2"
    recipe = recipe_of(texts(parameters=text), card, HERE)
    assert (recipe.settings["num_inference_steps"], recipe.settings["seed"]) == (9, 5)
    assert [sentence.split()[0] for sentence in recipe.refused] == ["prompt"]


def test_line_separators_of_python_alone_stay_in_the_prompt(card):
    recipe = recipe_of(texts(parameters="a\u2028b\x0bc\r\nd\nSteps: 9, Seed: 5, CFG scale: 2"), card, HERE)
    assert recipe.settings["prompt"] == "a\u2028b\x0bc\nd"


def test_a_text_without_a_prompt_leaves_the_prompt_alone(card):
    recipe = recipe_of(texts(parameters="Steps: 9, Seed: 5, CFG scale: 2"), card, HERE)
    assert "prompt" not in recipe.settings and not recipe.refused


def test_a_shape_out_of_range_is_listed(card):
    recipe = recipe_of(
        texts(parameters="a\nSteps: 3, Seed: 1, CFG scale: 2", width=900, height=100), card, HERE
    )
    assert "aspect" not in recipe.settings
    assert any("aspect" in sentence for sentence in recipe.refused)


def test_a_card_without_the_mixer_keeps_the_others(own_plan, card):
    bare = dataclasses.replace(card, mixers=("attention",))
    recipe = recipe_of(texts(picture_info(own_plan, 1, HERE)), bare, HERE)
    assert "mixer" not in recipe.settings and len(recipe.refused) == 1
