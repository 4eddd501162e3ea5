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


@pytest.mark.parametrize("side", [896, 1088, 1216])
@pytest.mark.parametrize("values", [{"region": "box 1 1 90 90"}, {"extend": "top 3"}])
def test_going_on_keeps_a_first_stage_of_which_a_part_is_drawn(side, values):
    made = make_plan(started(side, side, target=1024, start_strength=0.9, **values), CARD)
    try:
        further = make_plan(dataclasses.replace(made.settings, target=2048), CARD)
    except BadSetting:
        assert values.get("extend")
        return
    assert made.stages[0].key == further.stages[0].key


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


def extended_by(text: str, width: int = 512, height: int = 512, **values):
    usual = {"target": 1024, "start_strength": 0.9, "extend": text}
    return make_plan(started(width, height, **{**usual, **values}), CARD)


@pytest.mark.parametrize(
    ("text", "width", "height", "first"),
    [
        ("left 25 right 25", 512, 512, "768×512"),
        ("right 1", 512, 512, "544×512"),
        ("top 100 bottom 50", 1024, 1024, "1024×2560"),
        ("bottom 33", 1216, 832, "1216×1120"),
        ("left 50", 288, 256, "416×256"),
        ("left 50", 410, 256, "480×192"),
    ],
)
def test_an_extended_picture_enters_at_its_own_size_with_margins_around_it(text, width, height, first):
    target = 1024
    plan = extended_by(text, width, height, target=target)
    stage = plan.stages[0]
    assert str(stage.size) == first and stage.kind.name == "redraw"
    plain = extended_by("", width, height, region="box 1 1 90 90")
    assert stage.size.within(stage.margins) == plain.stages[0].size
    for stage in plan.stages:
        assert stage.size.height % CARD.size_multiple == stage.size.width % CARD.size_multiple == 0
        assert stage.size == plan.stages[0].size.scaled(stage.px // plan.stages[0].px)
    assert make_plan(plan.settings, CARD) == plan


def test_what_is_extended_makes_another_key_and_margins_belong_to_the_first_stage():
    plans = [extended_by(text) for text in ("", "left 25", "right 25")]
    assert len({plan.stages[0].key for plan in plans}) == 3
    assert [any(stage.margins) for stage in plans[1].stages] == [True, False]


def test_a_canvas_that_is_too_long_or_too_large_is_refused_with_its_size_and_a_remedy_that_works():
    with pytest.raises(BadSetting, match=r"3648×832 px, longer than 4:1; add less at the left and right\."):
        extended_by("left 100 right 100", 1216, 832)
    with pytest.raises(BadSetting, match="3072×2048 px at a target of 2048, more than the 2048×2048 px"):
        extended_by("left 25 right 25", target=2048)
    with pytest.raises(BadSetting, match="choose a target of 1024 or add less"):
        extended_by("left 25 right 25", target=2048)
    assert str(extended_by("left 25 right 25", target=1024).size) == "1536×1024"


@pytest.mark.parametrize("values", [{"start_strength": 0}, {"start_strength": 0, "start": ""}])
def test_an_extension_of_what_is_not_redrawn_is_refused(values):
    with pytest.raises(BadSetting, match="extend adds parts to an init image, which are drawn; give one"):
        make_plan(started(target=1024, extend="left 25", **values), CARD)


@pytest.mark.parametrize("values", [{"region": "box 1 1 90 90"}, {"extend": "top 10"}])
@pytest.mark.parametrize("aspect", ["1:1", "3:2", "16:9", "21:9", "4:1"])
def test_any_finished_stage_of_which_a_part_is_drawn_enters_at_its_own_size(aspect, values):
    run = make_plan(Settings(prompt="a", seed=1, target=1024, aspect=aspect), CARD)
    for stage in run.stages:
        own = started(stage.size.width, stage.size.height, start_strength=0.9, target=1024, **values)
        first = make_plan(own, CARD).stages[0]
        assert first.size.within(first.margins) == stage.size


def test_a_picture_that_is_larger_than_the_model_reaches_is_resized():
    plan = make_plan(started(2816, 2816, start_strength=0.9, target=2048, region="box 1 1 90 90"), CARD)
    assert answer(plan) == [("2048×2048", 9)]
