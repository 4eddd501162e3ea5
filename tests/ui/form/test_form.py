import dataclasses

import gradio as gr
import pytest

from gspn_core.errors import BadSetting, UnsupportedSize
from gspn_core.planning.plan import make_plan
from gspn_core.planning.upscalers import UpscalerFile
from gspn_core.settings import CHOICES, FIELD_NAMES, RANGES, Settings
from ui.form.form import (
    NOISE_LEVEL,
    REFINER,
    UPSCALER,
    build_form,
    build_prompt,
    initial_values,
    next_example,
    settings_from,
    values_of,
)

# A value other than the default for every setting: a new one without an entry here fails the round trip.
OTHER = {
    "start": f"96x64-{'ab' * 32}",
    "start_px": 128,
    "start_strength": 0.5,
    "region": "outside; box 100 200 300 400.5",
    "region_feather": 3.0,
    "extend": "left 25 top 10",
    "loras": "ink:0.8, snow:0.5",
    "control": "edges",
    "control_type": "depth",
    "control_image": f"96x64-{'cd' * 32}",
    "control_scale": 0.6,
    "control_start": 0.1,
    "control_end": 0.8,
    "freeu_b1": 1.3,
    "freeu_b2": 1.4,
    "freeu_s1": 0.9,
    "freeu_s2": 0.2,
    "prompt": "a toy boat",
    "negative_prompt": "rust",
    "target": 256,
    "aspect": "3:2",
    "mixer": "attention",
    "num_inference_steps": 9,
    "guidance_scale": 2.5,
    "guidance_stop": 0.55,
    "upscale_strength": 0.61,
    "gaussian_sigma": 1.35,
    "cosine_scale_1": 2.2,
    "cosine_scale_2": 1.7,
    "cosine_scale_3": 0.4,
    "dilated_min_weight": 0.2,
    "ladder": "128",
    "keep_base": 0.4,
    "dilation_scope": "deep",
    "dilation_use": "main",
    "dilation_until": 0.5,
    "tile_share": 0.3,
    "scheduler": "unipc",
    "original_scale": 1.5,
    "target_scale": 0.8,
    "crop_top": 64,
    "crop_left": 128,
    "refiner": "ensemble",
    "refiner_start": 0.7,
    "aesthetic_score": 7.0,
    "negative_aesthetic_score": 2.0,
    "upscaler": "4x-Sharp",
    "noise_level": 45,
    "seed": 42,
    "variation_seed": 5,
    "variation_strength": 0.3,
    "overrides": ({"stage_px": 128, "name": "prompt", "value": 'a "toy"; boat\nat sea'},),
}


@pytest.fixture
def form(card):
    with gr.Blocks():
        return build_form(card, *build_prompt(card))


def initial(card) -> list:
    return [initial_values(card)[name] for name in FIELD_NAMES]


def test_every_setting_has_a_control(form) -> None:
    assert list(form.controls.keys() ^ set(FIELD_NAMES)) == []
    assert len(form.inputs) == len(FIELD_NAMES)


def test_the_refiners_controls_show_only_where_there_is_a_refiner(form, card) -> None:
    hidden = (*REFINER, UPSCALER, NOISE_LEVEL)
    assert [form.controls[name].visible for name in hidden] == [False] * len(hidden)
    with gr.Blocks():
        refined = dataclasses.replace(card, has_refiner=True)
        with_one = build_form(refined, *build_prompt(refined))
    assert all(with_one.controls[name].visible for name in REFINER)


def test_upscalers_have_a_control_where_they_are_given(card) -> None:
    found = tuple(
        UpscalerFile(name=name, digest="", scale=4, parameters=1, px_elements=1, px_operations=1.0)
        for name in ("4x-Sharp", "2x-Soft")
    )
    given = dataclasses.replace(card, upscalers=found, x4="a digest")
    with gr.Blocks():
        form = build_form(given, *build_prompt(given))
    models, level = form.controls[UPSCALER], form.controls[NOISE_LEVEL]
    assert models.visible and models.value == "4x-Sharp"
    assert [value for _, value in models.choices] == ["4x-Sharp", "2x-Soft"]
    assert level.visible and (level.value, level.maximum) == (20, 350)
    assert "esrgan:1024 takes an upscaler model, x4:1024 takes" in form.controls["ladder"].info
    with gr.Blocks():
        plain = build_form(card, *build_prompt(card))
    assert "esrgan needs --upscalers at the start, x4 needs --x4." in plain.controls["ladder"].info
    assert "sr:1024" not in plain.controls["ladder"].info
    with gr.Blocks():
        own = build_form(dataclasses.replace(card, has_superres=True), *build_prompt(card))
    assert "sr:1024 takes the model's own" in own.controls["ladder"].info


def test_every_control_is_named_after_its_setting(form) -> None:
    assert {name: control.elem_id for name, control in form.controls.items()} == {
        name: f"field-{name}" for name in FIELD_NAMES
    }


def test_sliders_have_the_bounds_and_steps_of_settings(form) -> None:
    sliders = {name: control for name, control in form.controls.items() if isinstance(control, gr.Slider)}
    assert set(sliders) == set(RANGES) - {"target", "seed", "variation_seed", "start_px"}
    for name, slider in sliders.items():
        bounds = RANGES[name]
        assert (slider.minimum, slider.maximum, slider.step) == (bounds.minimum, bounds.maximum, bounds.step)


def test_choices_are_those_of_settings_and_of_the_card(form, card) -> None:
    for name in CHOICES:
        offered = tuple(value for _, value in form.controls[name].choices)
        assert offered == (card.mixers if name == "mixer" else CHOICES[name])
    assert tuple(value for _, value in form.controls["target"].choices) == card.targets


def test_a_card_with_one_mixer_offers_only_that_one(card) -> None:
    import dataclasses

    alone = dataclasses.replace(card, mixers=("attention",))
    with gr.Blocks():
        form = build_form(alone, *build_prompt(alone))
    assert [value for _, value in form.controls["mixer"].choices] == ["attention"]
    assert form.controls["mixer"].value == "attention"


def test_the_form_at_first_says_the_defaults_of_settings_and_card(card) -> None:
    asked = settings_from(initial(card))
    plan = make_plan(asked, card).settings
    default = make_plan(Settings(prompt=card.examples[0], seed=plan.seed), card).settings
    assert plan == default
    assert asked.seed is None


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_every_setting_goes_through_the_form_and_back(card, name: str) -> None:
    changed = Settings.from_dict({**settings_from(initial(card)).to_dict(), name: OTHER[name]})
    assert settings_from(values_of(changed.to_dict(), card)) == changed
    assert getattr(changed, name) != getattr(settings_from(initial(card)), name)


def test_what_an_older_run_did_not_know_comes_back_as_it_stands_at_first(card) -> None:
    held = dict(zip(FIELD_NAMES, values_of({"prompt": "a toy boat", "seed": 3}, card), strict=True))
    assert held["prompt"] == "a toy boat"
    assert held["gaussian_sigma"] == initial_values(card)["gaussian_sigma"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("prompt", "", "prompt is empty"),
        ("prompt", None, "prompt is empty"),
        ("prompt", "x" * 5000, "shorten it"),
        ("seed", "abc", "seed must be a whole number"),
        ("seed", "-1", "seed must be a whole number from 0"),
        ("seed", "9" * 5000, "seed must be"),
        ("seed", "١٢", "seed must be a whole number"),
        ("gaussian_sigma", 99, "try 6"),
        ("gaussian_sigma", None, "gaussian_sigma is missing"),
        ("upscale_strength", "0.5", "must be a number"),
        ("scheduler", "none such", "scheduler must be one of"),
        ("mixer", ["gspn"], "mixer must be one of"),
    ],
)
def test_a_bad_value_is_refused_in_a_sentence_that_names_its_field(card, name, value, said) -> None:
    values = initial(card)
    values[FIELD_NAMES.index(name)] = value
    with pytest.raises(BadSetting, match=said) as refusal:
        settings_from(values)
    assert refusal.value.field == name


@pytest.mark.parametrize("aspect", ["", None, "wide", "1:9", "0:1", "<b>3:2</b>"])
def test_a_bad_aspect_is_refused_in_a_sentence(card, aspect) -> None:
    values = initial(card)
    values[FIELD_NAMES.index("aspect")] = aspect
    with pytest.raises(UnsupportedSize, match="aspect must"):
        settings_from(values)


def test_examples_follow_one_another_and_begin_again(card) -> None:
    first, second = card.examples
    assert [next_example(held, card) for held in ("mine", first, second)] == [first, second, first]


def test_an_empty_seed_means_a_new_one(card) -> None:
    values = initial(card)
    for empty in ("", "  ", None):
        values[FIELD_NAMES.index("seed")] = empty
        assert settings_from(values).seed is None
    values[FIELD_NAMES.index("seed")] = " 12 "
    assert settings_from(values).seed == 12
