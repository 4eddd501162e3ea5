"""The kinds of a stage: what begins a run, what follows, which settings each reads."""

import dataclasses
import pickle

import pytest

from gspn_core.errors import BadSetting
from gspn_core.kinds.kind import PLACING, StageKind
from gspn_core.kinds.registry import BEGINNING_ONLY, FOLLOWING_ONLY, KINDS, find_kind, first_kind
from gspn_core.planning.plan import make_plan, redo, replanned
from gspn_core.planning.types import MemoryOptions
from gspn_core.settings import FIELD_NAMES, Settings

PICTURE = "100x100-" + 64 * "a"


def kinds(card, **settings) -> list[str]:
    return [stage.kind.name for stage in make_plan(Settings(prompt="a", seed=1, **settings), card).stages]


@pytest.mark.parametrize(
    ("settings", "name"),
    [({}, "generate"), ({"start": PICTURE}, "keep"), ({"start": PICTURE, "start_strength": 0.4}, "redraw")],
)
def test_the_settings_say_what_a_run_begins_with(settings, name, card):
    assert first_kind(Settings(prompt="a", **settings)).name == name
    first, *later = kinds(card, **settings, target=256)
    assert first == name and later and set(later) == {"upscale"}


def test_every_setting_is_read_by_a_kind_or_places_a_stage():
    assert frozenset().union(*(kind.reads for kind in KINDS)) | PLACING == set(FIELD_NAMES)


def test_a_kind_is_the_same_after_pickling_and_named_once():
    assert [pickle.loads(pickle.dumps(kind)) for kind in KINDS] == list(KINDS)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert [find_kind(kind.name) for kind in KINDS] == list(KINDS)


def test_what_only_the_first_and_only_later_stages_read():
    assert "refiner" in BEGINNING_ONLY and "upscale_strength" in FOLLOWING_ONLY
    assert not BEGINNING_ONLY & FOLLOWING_ONLY


def test_a_ladder_names_the_kind_of_a_stage(card):
    plain = make_plan(Settings(prompt="a", seed=1, target=256), card)
    named = make_plan(Settings(prompt="a", seed=1, target=256, ladder="128 upscale:256"), card)
    assert named.settings.ladder == "128 upscale:256"
    assert [stage.key for stage in named.stages] == [stage.key for stage in plain.stages]


def test_a_kind_that_is_not_there_is_refused_with_those_that_are(card):
    with pytest.raises(BadSetting, match="x9 is not a valid kind of stage here; there are: upscale"):
        make_plan(Settings(prompt="a", ladder="x9:256", target=256), card)


def test_a_stage_that_only_enlarges_has_a_key_of_its_own_and_takes_no_overrides(card):
    plan = make_plan(Settings(prompt="a", seed=1, target=256, ladder="128 lanczos:256"), card)
    upscaled = make_plan(Settings(prompt="a", seed=1, target=256, ladder="128 256"), card)
    assert [stage.kind.name for stage in plan.stages][-2:] == ["upscale", "lanczos"]
    assert plan.stages[-1].steps == 0 and plan.stages[-1].key != upscaled.stages[-1].key
    assert [stage.key for stage in plan.stages[:-1]] == [stage.key for stage in upscaled.stages[:-1]]
    with pytest.raises(BadSetting, match=r"the stage of 256 px \(lanczos\) has no guidance_scale"):
        make_plan(
            Settings(prompt="a", target=256, ladder="lanczos:256", overrides="256.guidance_scale=2"), card
        )


@pytest.mark.parametrize("ladder", ["up scale:64:", "256 upscale:256", "upscale:", ":256", "Up:256", "a:b"])
def test_a_ladder_that_cannot_be_read_is_refused(ladder):
    with pytest.raises(BadSetting, match="ladder must list sizes in px, each once"):
        Settings(prompt="a", ladder=ladder)


class Fourfold(StageKind):
    name = "fourfold"
    reads = find_kind("upscale").reads
    ratios = frozenset({4})

    def steps(self, own: Settings) -> tuple[int, int]:
        return own.num_inference_steps, 0


def test_a_ratio_that_a_kind_cannot_have_is_refused_with_the_size_to_put_before_it(card, monkeypatch):
    monkeypatch.setattr("gspn_core.kinds.registry.KINDS", (*KINDS, Fourfold()))
    plan = make_plan(Settings(prompt="a", seed=1, ladder="fourfold:256", target=256), card)
    assert [(stage.kind.name, stage.ratio) for stage in plan.stages] == [("generate", 1), ("fourfold", 4)]
    with pytest.raises(BadSetting, match="fourfold is 4 times as large .* got 256 px after 128; put 64"):
        make_plan(Settings(prompt="a", ladder="128 fourfold:256", target=256), card)


def test_a_cards_strengths_are_for_stages_that_take_one(card):
    own = dataclasses.replace(card, upscale_strengths=((256, 0.3),))
    plan = make_plan(Settings(prompt="a", seed=1, target=256, ladder="128 lanczos:256"), own)
    assert plan.settings.overrides == ()
    assert (
        make_plan(Settings(prompt="a", seed=1, target=256), own).stages[-1].settings.upscale_strength == 0.3
    )


def test_a_stage_that_is_run_again_may_be_of_another_kind(card):
    def plan(settings):
        return make_plan(settings, card)

    made = plan(Settings(prompt="a", seed=1, target=256, ladder="128 lanczos:256"))
    last = len(made.stages) - 1
    again = redo(made, last, Settings(prompt="a", target=256, ladder="128 256"), plan)
    stages = plan(again).stages
    assert stages[-1].kind.name == "upscale"
    assert [stage.key for stage in stages[:-1]] == [stage.key for stage in made.stages[:-1]]
    same = redo(made, last, Settings(prompt="a", target=256, ladder="128 lanczos:256"), plan)
    assert plan(same).stages[-1].key == made.stages[-1].key


def test_a_replanned_run_changes_the_keys_of_what_is_enlarged_from_it(card):
    made = make_plan(Settings(prompt="a", seed=1, target=256, ladder="128 lanczos:256"), card)
    again = replanned(made, card, 1, MemoryOptions(serial_guidance=True), None)
    assert [one.key == other.key for one, other in zip(made.stages, again.stages, strict=True)][-2:] == [
        False,
        False,
    ]
    assert again.stages[-1].choices == MemoryOptions()
