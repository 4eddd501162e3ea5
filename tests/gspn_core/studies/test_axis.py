from __future__ import annotations

import pytest

from gspn_core.errors import BadSetting
from gspn_core.settings import CHOICES, RANGES, Settings
from gspn_core.studies.axis import AXIS_NAMES, Axis, cells_of, example, parse_axis
from gspn_core.studies.axis_values import forms


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("gaussian_sigma", "0.2, 0.4;0.6", (0.2, 0.4, 0.6)),
        ("gaussian_sigma", " 1 ", (1.0,)),
        ("upscale_strength", "0.2..0.6 by 0.1", (0.2, 0.3, 0.4, 0.5, 0.6)),
        ("upscale_strength", "0.6..0.2 by 0.2", (0.6, 0.4, 0.2)),
        ("upscale_strength", "0.2 .. 0.35 step .05", (0.2, 0.25, 0.3, 0.35)),
        ("upscale_strength", "0.40..0.42", (0.4, 0.41, 0.42)),
        ("guidance_scale", "3 from 1 to 2", (1.0, 1.5, 2.0)),
        ("num_inference_steps", "4..12 by 4", (4, 8, 12)),
        ("seed", "3 from 7", (7, 8, 9)),
        ("seed", "2 seeds from 0, 99", (0, 1, 99)),
        ("seed", "1, 1, 2", (1, 2)),
        ("target", "64, 128", (64, 128)),
        ("mixer", "all", ("gspn", "attention")),
        ("mixer", "attention", ("attention",)),
        ("scheduler", "ddim\neuler", ("ddim", "euler")),
        ("prompt", "a lake, calm\n\n two hills ", ("a lake, calm", "two hills")),
        ("aspect", "1:1, 3:2", ("1:1", "3:2")),
        ("num_inference_steps", "1-5", (1, 2, 3, 4, 5)),
        ("num_inference_steps", "1-5 (+2)", (1, 3, 5)),
        ("num_inference_steps", "10-5 (-3)", (10, 7)),
        ("num_inference_steps", "1-10 [5]", (1, 3, 5, 7, 10)),
        ("num_inference_steps", "20,30", (20, 30)),
        ("guidance_scale", "1-5", (1.0, 2.0, 3.0, 4.0, 5.0)),
        ("guidance_scale", "2 – 3 ( + 0.5 )", (2.0, 2.5, 3.0)),
        ("guidance_scale", "3-2 (-.5)", (3.0, 2.5, 2.0)),
        ("upscale_strength", "0.2-0.6 [3], 0.9", (0.2, 0.4, 0.6, 0.9)),
        ("upscale_strength", "0.2..0.6 (+0.2)", (0.2, 0.4, 0.6)),
        ("upscale_strength", "0.2-0.6 step 0.2", (0.2, 0.4, 0.6)),
        ("seed", "1-3", (1, 2, 3)),
        ("guidance_scale", "7,5; 8,5", (7.5, 8.5)),
        ("guidance_scale", "7,5, 8,5", (7.5, 8.5)),
        ("guidance_scale", "7,5\n8", (7.5, 8.0)),
        ("guidance_scale", "7,25; 8", (7.25, 8.0)),
        ("upscale_strength", "0,2..0,6 by 0,2", (0.2, 0.4, 0.6)),
        ("upscale_strength", "0,2-0,6 [3]", (0.2, 0.4, 0.6)),
        ("upscale_strength", "3 from 0,2 to 0,6", (0.2, 0.4, 0.6)),
        ("guidance_scale", "2,4,6", (2.0, 4.0, 6.0)),
        ("guidance_scale", "2, 4", (2.0, 4.0)),
        ("guidance_scale", "1.5,2.5", (1.5, 2.5)),
        ("negative_prompt", "\nfog", ("", "fog")),
        ("negative_prompt", "fog\n\nrain\n\n", ("fog", "", "rain")),
        ("negative_prompt", '""', ("",)),
        ("negative_prompt", 'fog\n""', ("fog", "")),
        ("ladder", '""\n64 128', ("", "64 128")),
    ],
)
def test_values_are_read_as_a_person_types_them(card, name, text, values):
    axis = parse_axis(name, text, card)
    assert axis == Axis(name=name, values=values)
    assert [type(value) for value in axis.values] == [type(value) for value in values]


@pytest.mark.parametrize("name", [name for name in AXIS_NAMES if name in RANGES])
def test_every_form_in_a_remedy_is_read_and_makes_cells(card, name):
    for form in forms(name, card).split(" or "):
        axis = parse_axis(name, form, card)
        assert len(cells_of(Settings(prompt="a lake", seed=1), [axis])) == len(axis.values) > 1


@pytest.mark.parametrize("name", AXIS_NAMES)
def test_the_example_of_every_setting_makes_cells(card, name):
    axis = parse_axis(name, example(name, card), card)
    cells = cells_of(Settings(prompt="a lake", seed=1), [axis])
    assert len(cells) == len(axis.values) >= 1
    assert [getattr(settings, name) for _, settings in cells] == list(axis.values)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("hue", "1", "'hue' is not a setting"),
        ("overrides", "1", "is not a setting"),
        ("loras", "ink:much", "loras must name LoRA files"),
        ("seed", "", "has no values; type some, such as 4 from 7"),
        ("gaussian_sigma", "a lot", "'a lot' is not a number for gaussian_sigma"),
        ("gaussian_sigma", "1..0 by -1", "is not a range"),
        ("gaussian_sigma", "-1e308..1e308", "is not a range"),
        ("gaussian_sigma", "0..4 by 0", "is not a range"),
        ("gaussian_sigma", "0..1e300 by 1e-9", "is not a range"),
        ("gaussian_sigma", "0..4 by 0.0001", "is not a range of at most 64"),
        ("gaussian_sigma", "999 from 0 to 1", "asks for 999 values"),
        ("seed", "200 from 1", "has 200 values, at most 64"),
        ("seed", "-1", "'-1' is not a seed; write 7, 11 or 4 from 7"),
        ("seed", "some", "'some' is not a number for seed; write 7, 11 or 4 from 7"),
        ("num_inference_steps", "1..150", "is not a range of at most 64 values; write 12, 24 or 12-48"),
        ("upscale_strength", "0.2-0.6", "'0.2-0.6' has no step; write 0.2-0.6 \\[3\\] for three values"),
        ("guidance_scale", "7,5", "can part values or be a decimal point here; write 7, 5 or 7.5"),
        ("guidance_scale", "7,5, 8", "write 7, 5, 8 or 7.5, 8"),
        ("guidance_scale", "7,5,8,5", "write 7, 5, 8, 5 or 7.5, 8.5"),
        ("guidance_scale", "1-9 [1]", "asks for 1 values; ask for 2 to 64"),
        ("negative_prompt", " \n", "has no values"),
        ("mixer", "mamba", "mixer has no 'mamba'; it has gspn, attention"),
        ("mixer", "neighborhood", "has no 'neighborhood'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(card, name, text, said):
    with pytest.raises(BadSetting, match=said) as caught:
        parse_axis(name, text, card)
    assert caught.value.field == "axis"


def test_an_axis_of_one_stage_sets_its_override_and_keeps_the_others(card):
    axis = parse_axis("gaussian_sigma", "1, 2", card, stage_px=128)
    base = Settings(prompt="a lake", seed=1, overrides="128.gaussian_sigma=4; 256.seed=9")
    (_, first), (_, second) = cells_of(base, [axis])
    assert first == Settings(prompt="a lake", seed=1, overrides="128.gaussian_sigma=1; 256.seed=9")
    assert second.at_stage(128).gaussian_sigma == 2.0
    for name, px in (("target", 128), ("seed", 100)):
        with pytest.raises(BadSetting, match="choose all stages"):
            parse_axis(name, "128", card, stage_px=px)


def test_the_first_axis_is_outermost(card):
    axes = [parse_axis("seed", "1, 2", card), parse_axis("gaussian_sigma", "0, 1", card)]
    cells = cells_of(Settings(prompt="a"), axes)
    assert [values for values, _ in cells] == [(1, 0.0), (1, 1.0), (2, 0.0), (2, 1.0)]


def test_too_many_cells_and_the_same_axis_twice_are_refused(card):
    seeds, sigmas = parse_axis("seed", "9 from 1", card), parse_axis("gaussian_sigma", "9 from 0 to 4", card)
    with pytest.raises(BadSetting, match="have 81 cells, at most 64"):
        cells_of(Settings(prompt="a"), [seeds, sigmas])
    with pytest.raises(BadSetting, match="both axes are seed"):
        cells_of(Settings(prompt="a"), [seeds, seeds])


def test_a_value_out_of_range_is_refused_by_settings_themselves(card):
    with pytest.raises(BadSetting, match="gaussian_sigma must be a number from 0 to 6, got 9"):
        cells_of(Settings(prompt="a"), [parse_axis("gaussian_sigma", "9", card)])


def test_every_choice_is_offered_by_all(card):
    assert parse_axis("scheduler", "ALL", card).values == CHOICES["scheduler"]
