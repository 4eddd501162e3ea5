from __future__ import annotations

import dataclasses

import pytest

from gspn_core.events import StepWeights
from gspn_core.kinds.kind import DILATION
from gspn_core.kinds.registry import FOLLOWING_ONLY
from gspn_core.planning.plan import make_plan
from gspn_core.settings import Settings
from ui.form.curves import HEIGHT, WIDTH, curves_of, curves_props, idle_settings
from ui.shared.strings import form_strings


def steps(*weights: float, least: float = 0.1, **changes) -> tuple[StepWeights, ...]:
    return tuple(
        StepWeights(
            **{
                "timestep": 400.0 - i,
                "c1": c / 10,
                "c2": c,
                "c3": c / 2,
                "dilated": c >= least,
                "sigma": 1.25,
                "held": c / 10,
                "layout_px": 0.2 / c,
                **changes,
            }
        )
        for i, c in enumerate(weights)
    )


UNTILED = {"tile_share": "untiled"}
SAID = {"tile_share": form_strings.IDLE["untiled"]}


@pytest.fixture
def plan(card):
    asked = Settings(prompt="a toy", target=128, gaussian_sigma=2.0, dilated_min_weight=0.1, seed=1)
    return make_plan(asked, card)


@pytest.fixture
def idle_for(card):
    """Return a function: the settings that do nothing with these steps, each with its reason's name."""
    names = {sentence: name for name, sentence in form_strings.IDLE.items()}

    def found(taken: tuple[StepWeights, ...] | None, **changes) -> dict[str, str]:
        asked = Settings(**{"prompt": "a toy", "target": 128, "seed": 1, **changes})
        plan = make_plan(asked, card)
        known = None if taken is None else ((), *([taken] * (len(plan.stages) - 1)))
        return {name: names[reason] for name, reason in idle_settings(plan, card, known).items()}

    return found


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
    for name, falls in (("gaussian_sigma", False), ("cosine_scale_1", True), ("cosine_scale_3", False)):
        drawn = points(curves[name]["path"])
        assert len(drawn) == 3 and all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in drawn)
        assert [y for _, y in drawn] == sorted((y for _, y in drawn), reverse=not falls), name


def test_the_strength_shows_the_noise_level_that_it_starts_at(plan):
    curve = curves_of(plan, steps(0.4, 0.2))["upscale_strength"]
    (left, right), (begin, end) = curve["track"], curve["fill"]
    assert end == right
    assert (end - begin) / (right - left) == pytest.approx(plan.settings.upscale_strength)
    assert curve["said"] == "The last stage starts at timestep 400, noise level 1.2, and takes 2 of 4 steps."


def test_the_dilated_branch_shows_its_steps_and_the_line_below_which_it_is_left_out(plan):
    curve = curves_of(plan, steps(0.4, 0.2, 0.05))["cosine_scale_2"]
    assert len(curve["marks"]) == 2
    assert all(y < curve["line"] for _, y in curve["marks"])
    said = "The dilated branch runs in 2 of 3 steps, 2 more UNet calls; its weight there is 40 % to 20 %."
    assert curve["said"] == said


def test_a_branch_that_runs_in_no_step_is_off(plan):
    curve = curves_of(plan, steps(0.05, 7.8e-6))["cosine_scale_2"]
    assert curve["said"] == "The dilated branch is off: its weight stays below 0.1."
    assert curve["marks"] == []


def test_sigma_says_the_width_that_is_held(plan):
    same = curves_of(plan, steps(0.4, 0.2, layout_px=0.46))["gaussian_sigma"]["said"]
    assert same == "Structures wider than 0.46 px of the base are held to the stage before."
    wider = curves_of(plan, steps(0.4, 0.002))["gaussian_sigma"]["said"]
    assert wider == (
        "Structures are held that are wider than 0.5 px of the base at the first step and 100 px at the last."
    )
    whole = curves_of(plan, steps(0.4, 0.2, layout_px=0.0))["gaussian_sigma"]["said"]
    assert whole == "At 0 all that the stage before shows is held."


def test_where_nothing_is_held_sigma_says_what_the_branch_sees(plan):
    curves = curves_of(plan, steps(1.0, 0.5, held=0.0))
    assert curves["gaussian_sigma"]["said"] == (
        "The dilated branch sees a blur of 1 px of the base at its first step and 0.5 px at its last."
    )
    assert curves["cosine_scale_3"]["said"] == (
        "The branch's blur is 50 % of Blur σ at its first step and 25 % at its last."
    )


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (1.0, 1.0, "The layout is held by 100 % at every step."),
        (0.8, 7.8e-6, "The layout is held by 80 % at the first step and by less than 1 % at the last."),
        (0.999, 0.0, "The layout is held by over 99 % at the first step and by 0 % at the last."),
    ],
)
def test_no_share_is_said_in_powers_of_ten(first, last, said):
    assert form_strings.curve_held(first, last) == said


def test_a_scale_that_widens_nothing_says_so():
    assert form_strings.curve_widened(1.0, 1.0) == "The width of what is held is the same at every step."
    grown = "The width of what is held grows 3.3 times at the first step and 100 times at the last."
    assert form_strings.curve_widened(3.3, 100.0) == grown


def test_one_step_is_a_level_line_and_one_stage_has_no_curves(plan):
    (_, a), (_, b) = points(curves_of(plan, steps(0.4))["cosine_scale_1"]["path"])
    assert a == b
    assert curves_of(plan, ()) == {}


def test_the_plan_of_the_form_decides_the_curves(plan, card):
    seen = []

    def weights(given):
        seen.append(given)
        return ((), steps(0.4, 0.2))

    shown = curves_props(plan, card, weights)
    assert seen == [plan] and not shown["wait"]
    assert len(shown["curves"]) == 6 and shown["idle"] == SAID


def test_curves_wait_for_the_model_and_stay_while_the_form_is_wrong(plan, card):
    assert curves_props(plan, card, lambda _: None) == {"curves": {}, "idle": SAID, "wait": True}
    assert curves_props(None, card, lambda _: None) is None


def test_at_one_stage_every_setting_of_later_ones_says_so_and_what_helps(card, idle_for):
    assert idle_for((), target=64) == idle_for(None, target=64)
    assert idle_for((), target=64) == dict.fromkeys(FOLLOWING_ONLY, "one_stage")
    small = make_plan(Settings(prompt="a toy", target=64, seed=1), card)
    shown = curves_props(small, card, lambda _: ((),))
    assert shown["curves"] == {} and set(shown["idle"]) == FOLLOWING_ONLY


def test_where_no_later_stage_is_denoised_every_setting_of_theirs_says_so(idle_for):
    found = idle_for(((), ()), target=128, ladder="lanczos:128")
    assert found == dict.fromkeys(FOLLOWING_ONLY, "not_denoised")


def test_no_larger_size_is_offered_where_there_is_none(card):
    alone = dataclasses.replace(card, max_target_px=64, default_target_px=64)
    plan = make_plan(Settings(prompt="a toy", seed=1), alone)
    assert set(idle_settings(plan, alone, ((),)).values()) == {form_strings.IDLE["one_stage_at_most"]}


@pytest.mark.parametrize(
    ("taken", "changes", "idle"),
    [
        (steps(0.4, 0.2), {}, {}),
        (steps(0.05), {}, {"dilation_scope": "undilated", "dilation_until": "below"}),
        (
            steps(0.05, held=0.0),
            {},
            {
                "dilation_scope": "undilated",
                "dilation_until": "below",
                "keep_base": "started_free",
                "gaussian_sigma": "free",
                "cosine_scale_3": "free",
            },
        ),
        (steps(0.4, held=0.0), {}, {"keep_base": "started_free"}),
        (steps(0.4), {"gaussian_sigma": 0.0}, {"cosine_scale_3": "unblurred"}),
        (
            steps(1.0, held=0.0),
            {"dilation_use": "main"},
            {
                "cosine_scale_2": "main",
                "dilated_min_weight": "main",
                "cosine_scale_1": "whole",
                "keep_base": "started_free",
                "gaussian_sigma": "free",
                "cosine_scale_3": "free",
            },
        ),
        (
            steps(0.4, dilated=False),
            {"dilation_until": 0.0},
            dict.fromkeys(
                ("cosine_scale_2", "dilated_min_weight", "dilation_scope", "dilation_use"),
                "never",
            ),
        ),
        (
            steps(1.0, 1.0, held=0.0),
            {"cosine_scale_2": 0.0},
            {"cosine_scale_1": "whole", "dilated_min_weight": "whole", "keep_base": "started_free"},
        ),
    ],
)
def test_a_setting_that_does_nothing_as_the_others_stand_says_why(idle_for, taken, changes, idle):
    assert idle_for(taken, **changes) == {**idle, **UNTILED}


def test_a_setting_that_every_later_stage_has_of_its_own_does_nothing(idle_for):
    own = "128.keep_base=0.5\n256.keep_base=0.4\n256.gaussian_sigma=1"
    assert idle_for(steps(0.4), target=256, overrides=own) == {"keep_base": "overridden", **UNTILED}
    assert idle_for(None, target=256, overrides=own) == {"keep_base": "overridden", **UNTILED}


def test_tiles_are_not_dilated_and_a_share_of_none_leaves_nothing_to_set(idle_for):
    assert idle_for(steps(0.4, dilated=False), target=128, ladder="tiles:128") == dict.fromkeys(
        DILATION, "tiled"
    )
    found = idle_for((), target=128, ladder="tiles:128", tile_share=0.0)
    assert found == dict.fromkeys(FOLLOWING_ONLY - {"tile_share"}, "undrawn")


def test_what_does_nothing_shows_its_reason_in_place_of_a_curve(card):
    unblurred = make_plan(Settings(prompt="a toy", target=128, gaussian_sigma=0.0, seed=1), card)
    shown = curves_props(unblurred, card, lambda _: ((), steps(0.4, layout_px=0.0)))
    assert "cosine_scale_3" in shown["idle"] and "cosine_scale_3" not in shown["curves"]
