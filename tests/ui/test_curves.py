from __future__ import annotations

import gradio as gr
import pytest

from gspn_core.events import StepWeights
from gspn_core.plan import make_plan
from gspn_core.settings import FIELD_NAMES, Settings
from ui import words
from ui.curves import HEIGHT, WIDTH, asked_for, curves_of
from ui.form import initial_values


def steps(*weights: float, least: float = 0.1) -> tuple[StepWeights, ...]:
    return tuple(
        StepWeights(timestep=400.0 - i, c1=c / 10, c2=c, c3=c / 2, dilated=c >= least)
        for i, c in enumerate(weights)
    )


@pytest.fixture
def plan(card):
    asked = Settings(prompt="a toy", target=128, gaussian_sigma=2.0, dilated_min_weight=0.1, seed=1)
    return make_plan(asked, card)


@pytest.fixture
def values(card) -> list:
    return [initial_values(card)[name] for name in FIELD_NAMES]


def points(path: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split())) for pair in path.removeprefix("M").split("L")]


def test_every_slider_of_the_cascade_has_a_curve_and_a_sentence(plan):
    curves = curves_of(plan, steps(0.4, 0.2, 0.05))
    assert set(curves) == {
        "upscale_strength",
        "gaussian_sigma",
        "cosine_scale_1",
        "cosine_scale_2",
        "cosine_scale_3",
        "dilated_min_weight",
    }
    assert all(curve["said"].endswith(".") for curve in curves.values())
    for name in ("gaussian_sigma", "cosine_scale_1", "cosine_scale_3"):
        drawn = points(curves[name]["path"])
        assert len(drawn) == 3 and all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in drawn)
        assert [y for _, y in drawn] == sorted(y for _, y in drawn), "a falling weight falls"


def test_the_strength_shows_which_steps_run_again(plan):
    curve = curves_of(plan, steps(0.4, 0.2))["upscale_strength"]
    (left, right), (begin, end) = curve["track"], curve["fill"]
    assert end == right
    assert (end - begin) / (right - left) == pytest.approx(2 / 4)
    assert curve["said"] == words.curve_strength(2, 4, 400.0)


def test_the_dilated_branch_shows_its_steps_and_the_line_below_which_it_is_left_out(plan):
    curve = curves_of(plan, steps(0.4, 0.2, 0.05))["cosine_scale_2"]
    assert len(curve["marks"]) == 2
    assert all(y < curve["line"] for _, y in curve["marks"])
    assert "2 of 3 steps" in curve["said"]


def test_sigma_scales_the_blur_and_not_the_others(plan, card):
    other = make_plan(Settings(prompt="a toy", target=128, gaussian_sigma=4.0, seed=1), card)
    first, second = (curves_of(p, steps(0.4, 0.2)) for p in (plan, other))
    assert "0.4 to 0.2 latent pixels" in first["gaussian_sigma"]["said"]
    assert "0.8 to 0.4 latent pixels" in second["gaussian_sigma"]["said"]
    assert first["cosine_scale_1"] == second["cosine_scale_1"]


def test_one_step_is_a_level_line_and_one_stage_has_no_curves(plan):
    (_, a), (_, b) = points(curves_of(plan, steps(0.4))["cosine_scale_1"]["path"])
    assert a == b
    assert curves_of(plan, ()) == {}


def test_the_form_is_asked_as_it_stands_and_an_empty_prompt_is_no_matter(card, values):
    seen = []

    def weights(settings: Settings):
        seen.append(settings)
        return ((), steps(0.4, 0.2))

    values[FIELD_NAMES.index("prompt")] = ""
    values[FIELD_NAMES.index("gaussian_sigma")] = 1.5
    shown = asked_for(values, card, weights)
    assert seen[0].gaussian_sigma == 1.5 and not shown["wait"]
    assert len(shown["curves"]) == 6


def test_curves_wait_for_the_model_and_stay_while_the_form_is_wrong(card, values):
    assert asked_for(values, card, lambda _: None) == {"curves": {}, "wait": True}
    values[FIELD_NAMES.index("gaussian_sigma")] = "lots"
    assert asked_for(values, card, lambda _: None) == gr.skip()
