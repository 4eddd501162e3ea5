import dataclasses

import pytest

from gspn_core.errors import BadSetting, OverBudget
from gspn_core.planning.plan import check_fits, make_plan, redo
from gspn_core.planning.types import ModelCard
from gspn_core.settings import OVERRIDABLE, STARTING, Settings

HASH = "0123456789abcdef" * 4
CARD = ModelCard(
    name="toy",
    title="The toy model",
    description="Plans only.",
    base_px=256,
    size_multiple=32,
    max_target_px=2048,
    default_target_px=1024,
    num_inference_steps=10,
    guidance_scale=4.0,
    upscale_strength=0.4,
    mixers=("gspn", "attention"),
    has_refiner=True,
)


def started(width: int = 512, height: int = 512, **values) -> Settings:
    return Settings(**{"prompt": "a lake", "seed": 7, "start": f"{width}x{height}-{HASH}", **values})


def answer(plan) -> list[tuple[str, int]]:
    return [(str(stage.size), stage.steps) for stage in plan.stages]


@pytest.mark.parametrize(
    ("side", "target", "first"),
    [
        (64, 1024, 256),
        (256, 1024, 256),
        (360, 1024, 256),
        (364, 1024, 512),
        (512, 512, 256),
        (700, 1024, 512),
        (800, 2048, 1024),
        (4000, 512, 256),
        (4000, 1024, 512),
        (4000, 2048, 1024),
    ],
)
def test_a_picture_enters_at_the_stage_nearest_to_its_size_with_a_stage_above(side, target, first):
    plan = make_plan(started(side, side, target=target), CARD)
    assert plan.settings.start_px == first == plan.stages[0].size.width
    assert plan.stages[-1].size.width == target
    assert [stage.kind.name for stage in plan.stages] == ["keep"] + ["upscale"] * (len(plan.stages) - 1)


def test_a_kept_picture_takes_no_steps_and_later_stages_upscale_as_usual():
    plan = make_plan(started(target=2048), CARD)
    assert answer(plan) == [("512×512", 0), ("1024×1024", 4), ("2048×2048", 4)]
    assert [(stage.index, stage.scale) for stage in plan.stages] == [(0, 2), (1, 4), (2, 8)]
    assert make_plan(plan.settings, CARD) == plan
    # So that the seconds of all stages are known.
    assert [stage.seconds for stage in plan.stages] == [0.0, None, None]


def test_a_picture_that_is_drawn_again_comes_in_where_the_model_was_trained():
    plan = make_plan(started(target=1024, start_strength=0.35), CARD)
    assert answer(plan) == [("256×256", 4), ("512×512", 4), ("1024×1024", 4)]
    first = plan.stages[0]
    assert first.kind.name == "redraw" and first.scale == 1
    assert answer(make_plan(started(target=256, start_strength=1.0), CARD)) == [("256×256", 10)]
    there = make_plan(started(target=1024, start_strength=0.35, start_px=512), CARD)
    assert answer(there) == [("512×512", 4), ("1024×1024", 4)]


@pytest.mark.parametrize(("width", "height"), [(1000, 667), (667, 1000), (4096, 1024), (1023, 511)])
def test_the_aspect_is_the_pictures_as_near_as_the_model_allows(width, height):
    plan = make_plan(started(width, height, aspect="1:1", target=1024), CARD)
    ratio = width / height
    size = plan.stages[0].size
    assert size.height % 32 == size.width % 32 == 0
    assert size.width / size.height == pytest.approx(ratio, rel=0.07)
    assert size.pixels == pytest.approx(plan.settings.start_px**2, rel=0.1)
    shown_width, shown_height = map(int, plan.settings.aspect.split(":"))
    assert shown_width * height == shown_height * width
    for stage, following in zip(plan.stages, plan.stages[1:], strict=False):
        assert following.size == stage.size.scaled(2)


def test_going_on_to_a_higher_target_keeps_the_stages_and_their_keys():
    made = make_plan(started(900, 900, target=512), CARD)
    further = make_plan(dataclasses.replace(made.settings, target=2048), CARD)
    assert [stage.size.width for stage in further.stages] == [256, 512, 1024, 2048]
    assert [a.key == b.key for a, b in zip(made.stages, further.stages, strict=False)] == [True, True]


def test_the_kept_stages_key_changes_with_its_picture_its_stage_and_the_model_alone():
    before = make_plan(started(target=1024), CARD)
    other = make_plan(dataclasses.replace(started(target=1024), start=f"512x512-{HASH[::-1]}"), CARD)
    lower = make_plan(started(target=1024, start_px=256), CARD)
    model = make_plan(started(target=1024), dataclasses.replace(CARD, fingerprint="other"))
    assert len({plan.stages[0].key for plan in (before, other, lower, model)}) == 4
    assert len({plan.stages[-1].key for plan in (before, other, lower, model)}) == 4
    changes = {"prompt": "a hill", "seed": 8, "num_inference_steps": 9, "mixer": "attention", "aspect": "3:2"}
    for name, value in changes.items():
        after = make_plan(started(target=1024, **{name: value}), CARD)
        same = [a.key == b.key for a, b in zip(before.stages, after.stages, strict=True)]
        assert same == ([True, True] if name == "aspect" else [True, False]), name


def test_how_much_is_drawn_again_changes_every_key():
    plans = [make_plan(started(target=512, start_px=256, start_strength=s), CARD) for s in (0.0, 0.3, 0.7)]
    for index in range(2):
        assert len({plan.stages[index].key for plan in plans}) == 3
    drawn = make_plan(started(target=512, start_strength=0.3, prompt="a hill"), CARD)
    assert drawn.stages[0].key != plans[1].stages[0].key


def test_keys_of_runs_that_start_from_noise_do_not_know_of_starting_pictures():
    plan = make_plan(Settings(prompt="a lake", seed=7, target=512), CARD)
    assert plan.stages[0].kind.name == "generate" and plan.settings.start_px == 0
    # So that pictures from before there were init images are still cache hits.
    assert not any("start" in stage.kind.reads for stage in plan.stages)


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        (
            {"target": 256},
            "target",
            "target is 256 px, the first stage, and leaves no stage to upscale the picture; choose 512",
        ),
        ({"target": 512, "start_px": 512}, "start_px", "start_px may be 256 at a target of 512 px, got 512"),
        ({"target": 512, "start_px": 300}, "start_px", "start_px may be 256 at a target of 512 px, got 300"),
        ({"start": "", "start_strength": 0.4}, "start_strength", "0.4 and there is no picture to start from"),
        ({"start": "", "start_px": 512}, "start_px", "512 and there is no picture to start from"),
        ({"refiner": "image"}, "refiner", "set start_strength above 0 or choose none"),
    ],
)
def test_invalid_settings_are_refused_with_the_remedy(values, field, sentence):
    with pytest.raises(BadSetting, match=sentence) as caught:
        make_plan(started(**values), CARD)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "reference",
    [
        "x",
        f"../../512x512-{HASH}",
        f"512x512-{HASH}/..",
        f"512x512-{HASH}\n",
        f"0512x512-{HASH}",
        f"512x512-{HASH.upper()}",
        f"63x200-{HASH}",
        f"9999x9999-{HASH}",
        None,
        7,
        [],
    ],
)
def test_a_reference_is_a_size_and_a_hash_and_nothing_that_leads_elsewhere(reference):
    with pytest.raises(BadSetting, match="start must name a picture that was handed in here") as caught:
        Settings(prompt="a", start=reference)
    assert caught.value.field == "start"


def test_a_reference_of_too_long_a_picture_is_refused():
    with pytest.raises(BadSetting, match="1000×200 px, longer than 4:1; crop it"):
        started(1000, 200)


def test_no_stage_has_its_own_init_image():
    assert not set(STARTING) & set(OVERRIDABLE)
    with pytest.raises(BadSetting, match="'start_strength' cannot be overridden"):
        started(overrides="512.start_strength=0.5")


def test_a_redone_stage_keeps_the_picture_below_it_and_a_first_one_takes_the_new_settings():
    made = make_plan(started(target=1024, start_px=256), CARD)
    asked = Settings(prompt="a hill", upscale_strength=0.6)

    def plan(settings):
        return make_plan(settings, CARD)

    kept = plan(redo(made, 2, asked, plan))
    same = [a.key == b.key for a, b in zip(made.stages, kept.stages, strict=True)]
    assert same == [True, True, False]
    assert kept.settings.start == made.settings.start and kept.settings.prompt == "a hill"
    again = plan(redo(made, 0, asked, plan))
    assert again.settings.start == "" and again.stages[0].kind.name == "generate"


def test_a_stage_that_does_not_fit_above_a_kept_picture_suggests_no_target_below_it():
    plan = make_plan(started(target=1024), CARD)
    large = dataclasses.replace(plan.stages[1], fits=False, peak_bytes=9 * 10**9)
    refused = dataclasses.replace(plan, stages=(plan.stages[0], large), budget_bytes=10**9)
    with pytest.raises(OverBudget, match="free memory or choose a smaller model"):
        check_fits(refused)
