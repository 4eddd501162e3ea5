"""A grid's file opened in the Lab: the form gets its settings, the Lab its axes."""

from __future__ import annotations

import dataclasses
import json

import pytest

from gspn_core.studies.axis import AXIS_NAMES, example, listed_axis, parse_axis
from gspn_core.studies.sample import read_sample
from ui.form.form import initial_values, settings_from
from ui.lab.grid import typed
from ui.lab.opened import opened
from ui.shared.strings import lab_strings, labels

GRID = {
    "base": {"prompt": "a toy house", "seed": 5, "target": 64},
    "axes": [
        {"name": "gaussian_sigma", "values": [0.1, 0.123456789], "stage_px": 128},
        {"name": "prompt", "values": ["a toy boat, red", "a (toy) house"]},
    ],
}


def held(card) -> list:
    return list({**initial_values(card), "prompt": "mine"}.values())


def test_it_fills_the_form_and_the_axes_and_can_be_undone(card):
    answer, shown, *values = opened(GRID, held(card), card)
    assert answer["kind"] == "adopted"
    assert answer["axes"] == [
        ["prompt", "a toy boat, red\na (toy) house"],
        ["gaussian_sigma", "0.1, 0.123456789", 128],
    ]
    found = settings_from(values)
    assert (found.prompt, found.seed, found.target) == ("a toy boat, red", 5, 64)
    assert shown["before"] == held(card) and shown["said"] == lab_strings.FILE_TAKEN


@pytest.mark.parametrize("name", AXIS_NAMES)
def test_axes_of_every_setting_are_read_back_as_they_were(card, name):
    card = dataclasses.replace(card, has_refiner=True)
    text = {"negative_prompt": 'fog\n""\nrain, (snow:1.2)', "prompt": "a lake\na hill; 2"}.get(name)
    axis = parse_axis(name, text or example(name, card), card)
    ((back, again),) = typed([axis])
    assert parse_axis(back, again, card) == axis
    assert listed_axis(name, json.loads(json.dumps(axis.values)), card) == axis


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({}, "axes has 0 axes; give 1 to 2."),
        (None, "axes has 0 axes; give 1 to 2."),
        ({"base": {"prompt": "a"}, "axes": [3]}, "an axis has a name, values and at most a stage_px"),
        ({"base": {"sigma": 1}, "axes": GRID["axes"]}, "sigma is not a setting"),
        (
            {"base": GRID["base"], "axes": [{"name": "guidance_scale", "values": ["lots"]}]},
            "has the value 'lots'",
        ),
        (
            {"base": GRID["base"], "axes": [{"name": "refiner_start", "values": [0.5]}]},
            lab_strings.not_offered(labels.LABELS["refiner_start"]),
        ),
    ],
)
def test_what_is_not_a_grid_is_said_and_leaves_the_form(card, sent, sentence):
    answer, shown, *values = opened(sent, held(card), card)
    assert answer["kind"] == "said" and sentence in answer["said"]
    assert shown == values[0] and set(map(str, values)) == {str(shown)}


def test_the_record_of_an_exported_grid_is_one(card):
    view = read_sample().to_dict()
    answer, *_ = opened(json.loads(json.dumps(view)), held(card), card)
    assert [name for name, _ in answer["axes"]] == ["guidance_scale", "num_inference_steps"]
