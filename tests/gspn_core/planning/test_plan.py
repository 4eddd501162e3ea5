from __future__ import annotations

import dataclasses
import functools
import math
import pickle
import random

import pytest

from gspn_core.errors import BadSetting, UnsupportedSize
from gspn_core.kinds.kind import CONTROL, OTHER_MODELS, TILING, steps_from_level
from gspn_core.kinds.registry import BEGINNING_ONLY, FOLLOWING_ONLY
from gspn_core.lora.files import LoraFile
from gspn_core.planning.costs import pair_calls
from gspn_core.planning.plan import make_plan, nearest_size, redo
from gspn_core.planning.types import ModelCard, Size
from gspn_core.settings import CHOICES, FIELD_NAMES, OVERRIDABLE, RANGES, STARTING, Settings

BIG = ModelCard(
    name="big",
    title="The big model",
    description="Plans only.",
    base_px=1024,
    size_multiple=64,
    max_target_px=8192,
    default_target_px=2048,
    num_inference_steps=50,
    guidance_scale=7.0,
    upscale_strength=0.35,
    mixers=("attention", "gspn"),
    has_refiner=True,
)


def random_settings(rng: random.Random, card: ModelCard) -> Settings:
    """Draw random valid settings of the card."""
    width, height = rng.randint(1, 400), rng.randint(1, 400)
    if not 1 / 4 <= width / height <= 4:
        width = height
    values = {"prompt": "a lake", "target": rng.choice((None, *card.targets)), "aspect": f"{width}:{height}"}
    values |= {name: rng.choice(choices) for name, choices in CHOICES.items()}
    values["mixer"] = rng.choice((None, *card.mixers))
    for name in ("num_inference_steps", "guidance_scale", "upscale_strength", "seed"):
        bounds = RANGES[name]
        draw = rng.randint if name in ("num_inference_steps", "seed") else rng.uniform
        low, high = type(draw(0, 1))(bounds.minimum), type(draw(0, 1))(bounds.maximum)
        values[name] = rng.choice((None, draw(low, high)))
    return Settings(**values)


@pytest.fixture
def cases(card):
    rng = random.Random(0)
    return [(random_settings(rng, chosen), chosen) for chosen in (card, BIG) * 150]


def test_a_plan_of_anything_allowed_keeps_its_promises(cases):
    for settings, card in cases:
        plan = make_plan(settings, card)
        resolved = plan.settings
        assert None not in dataclasses.asdict(resolved).values()
        for name, value in settings.to_dict().items():
            assert value is None or resolved.to_dict()[name] == value
        for stage, following in zip(plan.stages, plan.stages[1:], strict=False):
            assert following.size == stage.size.scaled(2)
        for index, stage in enumerate(plan.stages):
            assert (stage.index, stage.scale, stage.kind.name == "generate") == (index, 2**index, index == 0)
            assert stage.size.height % card.size_multiple == stage.size.width % card.size_multiple == 0
            own = stage.steps - stage.refiner_steps
            assert 1 <= own <= stage.num_inference_steps == resolved.num_inference_steps
            fits = max(stage.size.height, stage.size.width) <= card.vae_tile_px
            assert stage.vae_tile_px == (None if fits else card.vae_tile_px)
        assert plan.stages[0].steps - plan.stages[0].refiner_steps == resolved.num_inference_steps
        assert plan.size == plan.stages[-1].size
        assert 2 ** (len(plan.stages) - 1) * card.base_px == resolved.target
        assert pickle.loads(pickle.dumps(plan)) == plan


def test_planning_what_was_resolved_gives_the_same_plan(cases):
    for settings, card in cases:
        plan = make_plan(settings, card)
        assert make_plan(plan.settings, card) == plan
        assert make_plan(Settings.from_dict(plan.settings.to_dict()), card) == plan


def test_the_area_and_the_shape_are_about_those_asked_for(cases):
    for settings, card in cases:
        size, unit = nearest_size(settings.aspect, card.base_px, card.size_multiple), card.size_multiple
        width, height = map(int, settings.aspect.split(":"))
        assert size.pixels == pytest.approx(card.base_px**2, rel=0.2)
        assert size.width == pytest.approx(card.base_px * math.sqrt(width / height), abs=unit / 2 + 1e-6)
        assert size.height == pytest.approx(card.base_px * math.sqrt(height / width), abs=unit / 2 + 1e-6)


def test_a_picture_turned_on_its_side_has_its_sides_swapped():
    for landscape, portrait in (("3:2", "2:3"), ("16:9", "9:16"), ("4:1", "1:4")):
        wide, tall = (
            nearest_size(aspect, BIG.base_px, BIG.size_multiple) for aspect in (landscape, portrait)
        )
        assert (wide.height, wide.width) == (tall.width, tall.height)
        assert wide.width > wide.height


def test_the_number_of_steps_is_the_ceiling_of_their_share():
    for steps in range(1, 151):
        for percent in range(2, 101):
            exact = -(-steps * percent // 100)
            assert steps_from_level(steps, percent / 100) == max(1, exact)


def test_a_seed_that_was_not_given_is_drawn_again_and_a_given_one_is_kept(card):
    drawn = {make_plan(Settings(prompt="a"), card).settings.seed for _ in range(20)}
    assert len(drawn) > 1
    assert all(RANGES["seed"].minimum <= seed <= RANGES["seed"].maximum for seed in drawn)
    assert make_plan(Settings(prompt="a", seed=0), card).settings.seed == 0


def test_what_is_left_open_comes_from_the_card():
    resolved = make_plan(Settings(prompt="a"), BIG).settings
    assert resolved.target == 2048
    assert (resolved.num_inference_steps, resolved.guidance_scale) == (50, 7.0)
    assert resolved.upscale_strength == 0.35


def test_a_target_between_two_stages_is_refused_with_the_nearest(card):
    with pytest.raises(UnsupportedSize, match=r"64, 128, 256 px, got 250; try 256\.") as caught:
        make_plan(Settings(prompt="a", target=250), card)
    assert caught.value.field == "target"


def test_a_mixer_that_the_model_lacks_is_refused(card):
    bare = dataclasses.replace(card, mixers=("attention",))
    with pytest.raises(BadSetting, match="has no gspn mixer here; it has attention") as caught:
        make_plan(Settings(prompt="a", mixer="gspn"), bare)
    assert caught.value.field == "mixer"
    assert make_plan(Settings(prompt="a"), bare).settings.mixer == "attention"


def knows_lakes(prompt: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    words = prompt.split()
    return tuple(w for w in words if w == "lake"), tuple(w for w in words if w not in ("a", "lake"))


def test_unknown_words_are_noticed_but_do_not_stop_a_run(card):
    modest = dataclasses.replace(card, read_words=knows_lakes, vocabulary_hint="it draws lakes")
    assert make_plan(Settings(prompt="a lake"), modest).notices == ()
    (notice,) = make_plan(Settings(prompt="a lake dragon"), modest).notices
    assert "‘dragon’" in notice
    assert "it draws lakes" in notice


def test_a_prompt_of_which_no_word_is_known_is_refused(card):
    modest = dataclasses.replace(card, read_words=knows_lakes, vocabulary_hint="it draws lakes")
    for prompt in ("dragon", "!!!"):
        with pytest.raises(BadSetting, match="knows no word of this prompt; it draws lakes"):
            make_plan(Settings(prompt=prompt), modest)


def test_a_size_is_written_as_width_by_height():
    assert str(Size(512, 768)) == "768×512"
    assert Size(512, 768).scaled(2) == Size(1024, 1536)


KEY_CHANGES = {
    "prompt": "a hill",
    "negative_prompt": "fog",
    "target": None,
    "aspect": "3:2",
    "mixer": "gspn",
    "num_inference_steps": 9,
    "guidance_scale": 2.0,
    "guidance_stop": 0.5,
    "upscale_strength": 1.0,
    "gaussian_sigma": 2.0,
    "cosine_scale_1": 2.0,
    "cosine_scale_2": 2.0,
    "cosine_scale_3": 2.0,
    "dilated_min_weight": 0.2,
    "keep_base": 0.5,
    "dilation_scope": "all",
    "dilation_use": "main",
    "dilation_until": 0.5,
    "tile_share": 0.25,
    "ladder": "64 256",
    "scheduler": "ddim",
    "original_scale": 2.0,
    "target_scale": 2.0,
    "crop_top": 8,
    "crop_left": 8,
    "refiner": "ensemble",
    "refiner_start": 0.5,
    "aesthetic_score": 5.0,
    "negative_aesthetic_score": 5.0,
    "seed": 8,
    "variation_seed": 9,
    "variation_strength": 0.5,
    "loras": "ink:0.8",
    "freeu_b1": 1.2,
    "freeu_b2": 1.2,
    "freeu_s1": 0.5,
    "freeu_s2": 0.5,
    "overrides": "128.seed=9",
}


class OneLora:
    """A LoRA file that is not on disk."""

    def all(self):
        return (LoraFile(name="ink", path="", layers=1),)

    def digest(self, name):
        return name

    def hashes(self, name):
        return name, name


@pytest.fixture
def card(card):
    return dataclasses.replace(card, loras=OneLora())


LATER_ONLY = {"overrides", "ladder"} | FOLLOWING_ONLY


# A control's are tested with its networks.
ALWAYS_THERE = [name for name in FIELD_NAMES if name not in {*STARTING, *OTHER_MODELS, *CONTROL}]


@pytest.mark.parametrize("name", ALWAYS_THERE)
def test_a_stages_key_changes_with_what_its_picture_depends_on(card, name):
    asked = {"prompt": "a lake", "seed": 7, "mixer": "attention", "target": card.targets[-1]}
    asked |= {"variation_strength": 0.3} if name == "variation_seed" else {}
    if name in TILING:
        asked["ladder"] = "64 128 tiles:256"
    change = card.targets[-2] if name == "target" else KEY_CHANGES[name]
    before = [stage.key for stage in make_plan(Settings(**asked), card).stages]
    after = [stage.key for stage in make_plan(Settings(**{**asked, name: change}), card).stages]
    same = [a == b for a, b in zip(before, after, strict=False)]
    if name == "target":
        assert all(same)
    elif name in TILING:
        assert same == [True, True, False]
    elif name in LATER_ONLY:
        assert same == [True, *[False] * (len(same) - 1)]
    else:
        assert not any(same)


def test_without_strength_a_variation_seed_is_in_no_key_and_later_stages_have_none(card):
    asked = Settings(prompt="a lake", seed=7, target=card.targets[-1])
    keys = [stage.key for stage in make_plan(asked, card).stages]
    varied = dataclasses.replace(asked, variation_seed=9)
    assert [stage.key for stage in make_plan(varied, card).stages] == keys
    with pytest.raises(BadSetting, match="variation"):
        make_plan(dataclasses.replace(asked, overrides=f"{card.targets[-1]}.variation_strength=0.3"), card)


def test_keys_change_with_the_models_files(card):
    asked = Settings(prompt="a lake", seed=7)
    other = dataclasses.replace(card, fingerprint="other")
    assert make_plan(asked, card).stages[0].key != make_plan(asked, other).stages[0].key


def test_a_stages_own_value_changes_that_stage_and_those_after_it_alone(card):
    asked = Settings(prompt="a lake", seed=7, mixer="attention", target=256)
    before = make_plan(asked, card).stages
    for name in sorted(set(OVERRIDABLE) & set(ALWAYS_THERE) - BEGINNING_ONLY - TILING):
        value = {"mixer": "gspn"}.get(name, KEY_CHANGES[name])
        changed = dataclasses.replace(asked, overrides=[{"stage_px": 128, "name": name, "value": value}])
        after = make_plan(changed, card).stages
        assert [a.key == b.key for a, b in zip(before, after, strict=True)] == [True, False, False]
        assert getattr(after[1].settings, name) == value
        assert after[0].settings == before[0].settings and after[2].settings == before[2].settings
    steps = [
        stage.steps
        for stage in make_plan(dataclasses.replace(asked, overrides="128.upscale_strength=1"), card).stages
    ]
    assert steps == [4, 4, 2]


def test_an_override_for_a_stage_beyond_the_target_waits_for_that_stage(card):
    asked = Settings(prompt="a lake", seed=7, target=128, overrides="256.seed=9")
    plain = make_plan(dataclasses.replace(asked, overrides=()), card)
    assert [s.key for s in make_plan(asked, card).stages] == [s.key for s in plain.stages]


@pytest.mark.parametrize("name", sorted(FOLLOWING_ONLY - TILING))
def test_the_first_stage_has_no_own_value_of_what_it_does_not_read(card, name):
    refusal = rf"the stage of 64 px \(generate\) has no {name}; name 128 or 256 px"
    with pytest.raises(BadSetting, match=refusal) as caught:
        make_plan(
            Settings(prompt="a", overrides=[{"stage_px": 64, "name": name, "value": KEY_CHANGES[name]}]), card
        )
    assert caught.value.field == "overrides"


def test_an_override_names_a_stage_and_a_mixer_that_the_model_has(card):
    with pytest.raises(BadSetting, match=r"stages of 64, 128, 256 px, got 100"):
        make_plan(Settings(prompt="a", overrides="100.seed=1"), card)
    with pytest.raises(BadSetting, match="no neighborhood mixer here"):
        make_plan(Settings(prompt="a", overrides="128.mixer=neighborhood"), card)


def test_doing_a_stage_again_keeps_the_stages_before_it_and_changes_the_rest(cases):
    rng = random.Random(1)
    for (before, card), (after, _) in zip(cases[::2], cases[2::2], strict=False):
        made = make_plan(dataclasses.replace(before, target=card.targets[-1]), card)
        first = rng.randrange(len(made.stages))
        mixer = after.mixer if after.mixer in card.mixers else None
        wanted = dataclasses.replace(after, mixer=mixer, target=rng.choice(card.targets))
        asked = redo(made, first, wanted, functools.partial(make_plan, card=card))
        again = make_plan(asked, card)
        assert [s.key for s in again.stages[:first]] == [s.key for s in made.stages[:first]]
        assert again.settings.target == max(wanted.target, card.targets[first])
        for stage in again.stages[first:]:
            answer = make_plan(
                dataclasses.replace(wanted, target=None, seed=again.settings.seed), card
            ).settings
            assert all(getattr(stage.settings, n) == getattr(answer, n) for n in OVERRIDABLE)


def test_doing_all_again_with_the_same_settings_is_the_same_run(card):
    made = make_plan(Settings(prompt="a lake", seed=3, overrides="128.seed=5"), card)
    assert make_plan(redo(made, 0, made.settings, functools.partial(make_plan, card=card)), card) == made
    with pytest.raises(BadSetting, match="the stages 1 to 3, got 9"):
        redo(made, 8, made.settings, functools.partial(make_plan, card=card))


def test_unknown_words_of_a_stages_own_prompt_are_noticed(card):
    modest = dataclasses.replace(card, read_words=knows_lakes, vocabulary_hint="it draws lakes")
    (notice,) = make_plan(Settings(prompt="a lake", overrides="128.prompt=lake dragon"), modest).notices
    assert "‘dragon’" in notice


def test_a_missing_refiner_is_refused_with_the_remedy(card):
    card = dataclasses.replace(card, has_refiner=False)
    with pytest.raises(BadSetting, match="has no refiner here; choose none, or start with --refiner-model"):
        make_plan(Settings(prompt="a", refiner="ensemble"), card)


def test_the_refiner_belongs_to_the_first_stage_alone(card):
    usual = make_plan(Settings(prompt="a", seed=1), card)
    answer = make_plan(Settings(prompt="a", seed=1, refiner="image", refiner_start=0.75), card)
    assert (usual.stages[0].refiner_steps, answer.stages[0].refiner_steps) == (0, 1)
    assert answer.stages[0].steps == usual.stages[0].steps + 1
    assert [stage.refiner_steps for stage in answer.stages[1:]] == [0, 0]
    assert usual.stages[0].key != answer.stages[0].key
    with pytest.raises(BadSetting, match=r"the stage of 128 px \(upscale\) has no refiner; name 64 px"):
        make_plan(Settings(prompt="a", overrides="128.refiner=image"), card)
    assert make_plan(Settings(prompt="a", overrides="64.refiner=image"), card).stages[0].refiner_steps


def test_steps_without_guidance_count_half_and_the_dilated_branch_counts_again():
    assert pair_calls(4, 4) == 4
    assert pair_calls(4, 1) == 2.5
    assert pair_calls(4, 2, [True, False, True]) == 2 + 1 + 1.5
    assert pair_calls(1, 2, [True, False, True]) == 2


def test_a_scheduler_that_is_left_open_is_the_models_own(card):
    card = dataclasses.replace(card, scheduler="ddim")
    assert make_plan(Settings(prompt="a"), card).stages[0].settings.scheduler == "ddim"
    assert make_plan(Settings(prompt="a", scheduler="unipc"), card).settings.scheduler == "unipc"


def test_a_ladder_names_the_stages_between_the_first_and_the_target(card):
    asked = {"prompt": "a lake", "seed": 7, "mixer": "attention"}

    def sides(**changes):
        return [stage.size.width for stage in make_plan(Settings(**asked, **changes), card).stages]

    assert sides(target=256) == [64, 128, 256]
    assert sides(target=256, ladder="64") == [64, 256]
    assert sides(target=128, ladder="64 256") == [64, 128]
    assert sides(target=64, ladder="128") == [64]
    direct = make_plan(Settings(**asked, target=256, ladder="64"), card).stages[-1]
    assert direct.scale == 4


def test_a_ladder_of_sizes_that_the_model_lacks_is_refused(card):
    with pytest.raises(BadSetting, match="stages of 64, 128, 256 px, got 100"):
        make_plan(Settings(prompt="a", ladder="64 100"), card)
    for text in ("x4:", "-3", 5, "1 " * 40):
        with pytest.raises(BadSetting, match="ladder must list sizes in px"):
            Settings(prompt="a", ladder=text)
    assert Settings(prompt="a", ladder=" 256, 64 64").ladder == "64 256"


def test_a_stages_strength_and_steps_are_part_of_its_key(card):
    asked = Settings(prompt="a lake", seed=7, target=128, num_inference_steps=4)
    one, other = (
        make_plan(dataclasses.replace(asked, upscale_strength=share), card).stages[-1]
        for share in (0.45, 0.5)
    )
    assert one.steps == other.steps and one.key != other.key


def test_a_models_own_strengths_become_overrides_unless_one_is_given(card):
    own = dataclasses.replace(card, upscale_strengths=((256, 0.28),))
    asked = Settings(prompt="a lake", seed=7, target=256)
    plan = make_plan(asked, own)
    assert [stage.settings.upscale_strength for stage in plan.stages[1:]] == [card.upscale_strength, 0.28]
    assert make_plan(plan.settings, own).stages == plan.stages
    forced = make_plan(dataclasses.replace(asked, upscale_strength=0.6), own)
    assert [stage.settings.upscale_strength for stage in forced.stages[1:]] == [0.6, 0.6]


def test_what_a_first_stage_lacks_is_asked_of_the_runs_own_first_stage(card):
    start = "128x128-" + "0" * 64
    asked = {"prompt": "a", "start": start, "start_px": 128, "target": 256}
    with pytest.raises(BadSetting, match=r"the stage of 128 px \(keep\) has no upscale_strength"):
        make_plan(Settings(**asked, overrides="128.upscale_strength=0.5"), card)
