"""LoRA files in a picture's text: written for this project and for other tools, and read back."""

import dataclasses

import pytest

from gspn_core.images.comfyui import read_graph
from gspn_core.images.lora_values import hashes_in
from gspn_core.images.metadata import recipe_of
from gspn_core.images.png import parameters_text, picture_info
from gspn_core.lora.files import LoraFile
from gspn_core.planning.plan import make_plan
from gspn_core.settings import Settings

HERE = {"gspn-studio": "0.1.0"}
INK, SNOW = "1a" * 32, "2b" * 32


class Source:
    """Two files that are not on disk."""

    def all(self):
        return tuple(LoraFile(name=name, path="", layers=1) for name in ("ink", "snow"))

    def digest(self, name):
        return self.hashes(name)[0]

    def hashes(self, name):
        return ({"ink": INK, "snow": SNOW}[name], "c3" * 32)


@pytest.fixture
def lora_card(card):
    return dataclasses.replace(card, loras=Source())


def texts(info=None, parameters=None):
    return {"gspn_studio": info, "parameters": parameters, "width": 128, "height": 128}


def info_of(card):
    asked = Settings(prompt="a lake <lora:ink:0.5>", loras="snow:0.25", seed=7)
    return picture_info(make_plan(asked, card), 0, HERE)


def test_a_picture_brings_its_loras_back(lora_card):
    info = info_of(lora_card)
    assert info["loras"] == {"ink": INK, "snow": SNOW}
    recipe = recipe_of(texts(info), lora_card, HERE)
    assert (recipe.settings["prompt"], recipe.settings["loras"]) == ("a lake", "ink:0.5, snow:0.25")
    assert not recipe.refused and not recipe.differing


def test_a_picture_without_loras_has_the_info_of_before(card):
    assert "loras" not in picture_info(make_plan(Settings(prompt="a lake", seed=7), card), 0, HERE)


def test_other_files_and_missing_ones_are_said(lora_card, card):
    info = {**info_of(lora_card), "loras": {"ink": "9f" * 32, "snow": SNOW}}
    assert recipe_of(texts(info), lora_card, HERE).differing == {"LoRA ink": ("9f" * 6, INK[:12])}
    recipe = recipe_of(texts(info), card, HERE)
    assert recipe.settings["loras"] == "" and not recipe.differing
    assert recipe.refused[0] == "LoRA ink (0.5) is not here for this model; the picture was made with it."


@pytest.mark.parametrize("loras", [None, 3, [], {"ink": 3}, {"ink": "x" * 10_000}, "ink"])
def test_hostile_hashes_are_harmless(loras, lora_card):
    recipe = recipe_of(texts({**info_of(lora_card), "loras": loras}), lora_card, HERE)
    assert recipe.settings["loras"] == "ink:0.5, snow:0.25" and not recipe.differing


def test_the_text_for_other_tools_has_tags_and_hashes_and_is_read_again(lora_card):
    text = parameters_text(info_of(lora_card))
    assert text.startswith("a lake <lora:ink:0.5> <lora:snow:0.25>\n")
    assert f'Lora hashes: "ink: {INK[:12]}, snow: {SNOW[:12]}"' in text
    recipe = recipe_of(texts(parameters=text), lora_card, HERE)
    assert (recipe.settings["prompt"], recipe.settings["loras"]) == ("a lake", "ink:0.5, snow:0.25")
    assert not recipe.differing and not recipe.refused
    assert not any("Lora" in entry for entry in recipe.unknown)


def test_tags_of_another_tool_fill_the_setting_with_what_is_here(lora_card):
    text = (
        "castle <lora:ink:0.8>, dusk <lora:gone:1> <lora:snow:0.5:0.7>\nSteps: 28, Sampler: Euler, "
        'CFG scale: 6.5, Seed: 3, Lora hashes: "ink: 0123456789ab, gone: aa"'
    )
    recipe = recipe_of(texts(parameters=text), lora_card, HERE)
    assert recipe.settings["prompt"] == "castle, dusk" and recipe.settings["loras"] == "ink:0.8"
    assert recipe.refused == [
        "LoRA gone (1) is not here for this model; the picture was made with it.",
        "LoRA tag <lora:snow:0.5:0.7> cannot be read here.",
    ]
    assert recipe.differing == {"LoRA ink": ("0123456789ab", INK[:12])}
    by_tensors = text.replace("0123456789ab", "c3c3c3c3c3c3")
    assert not recipe_of(texts(parameters=by_tensors), lora_card, HERE).differing


@pytest.mark.parametrize("value", [None, 3, "", '"torn', "a", ":", '"ink"', "," * 9999])
def test_what_is_no_list_of_hashes_has_none(value):
    assert hashes_in(value) == {}


def test_the_loras_of_a_comfyui_graph_are_read_on_the_way_from_the_checkpoint():
    nodes = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "xl.safetensors"}},
        "2": {
            "class_type": "LoraLoader",
            "inputs": {"lora_name": "styles\\ink.safetensors", "strength_model": 0.8, "model": ["1", 0]},
        },
        "3": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": "snow.safetensors", "strength_model": -1, "model": ["2", 0]},
        },
        "4": {"class_type": "LoraLoader", "inputs": {"lora_name": "unused.safetensors", "model": ["1", 0]}},
        "5": {"class_type": "CLIPTextEncode", "inputs": {"text": "a castle"}},
        "6": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["3", 0], "positive": ["5", 0], "negative": ["5", 0], "steps": 9, "cfg": 5,
                "sampler_name": "euler",
            },
        },
    }  # fmt: skip
    assert read_graph(nodes)["prompt"] == "a castle <lora:snow:-1> <lora:ink:0.8>"
    nodes["2"]["inputs"]["model"] = ["3", 0]
    assert read_graph(nodes)["prompt"].count("<lora:") <= 16
