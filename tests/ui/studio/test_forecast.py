"""What is shown before a run: its outline, cached stages, and suggestions where it does not fit."""

from dataclasses import replace

import pytest

from gspn_core.errors import BadSetting
from gspn_core.planning.plan import make_plan
from gspn_core.prompts import TextLength
from gspn_core.settings import FIELD_NAMES, Settings
from tests.ui.studio.conftest import start
from ui.form.form import initial_values
from ui.form.presets import does, preset_of, preset_values
from ui.studio.handlers import Runs
from ui.studio.props import notice


def outline(runs: Runs, job: str | None, form: list) -> dict:
    """Return what stands next to Run of a form, with the empty screen where there is no run."""
    return runs.outline(job, runs.forecast(form))["ahead"]


def empty_stages(runs: Runs, form: list) -> list[dict]:
    """Return the empty cards of a form."""
    return outline(runs, None, form)["outline"]["stages"]


def test_what_the_next_run_would_reuse_is_said_for_a_fixed_seed_only(runs, values) -> None:
    def ahead(**changes) -> str:
        return outline(runs, None, [{**values, **changes}[name] for name in FIELD_NAMES])["text"]

    assert ahead() == ""
    list(start(runs, values))
    assert ahead() == "Nothing changed. Run returns the cached images (saves 3.0 s)."
    assert ahead(gaussian_sigma=2.0) == "64 × 64 is cached (saves 2.0 s)."
    assert ahead(target=256) == "64 × 64 and 128 × 128 are cached (saves 3.0 s)."
    assert ahead(prompt="a toy boat") == "" and ahead(seed="") == "" and ahead(seed="x") == ""


def test_an_empty_card_says_that_its_stage_is_there_already(runs, values) -> None:
    list(start(runs, values))
    cards = empty_stages(runs, [{**values, "gaussian_sigma": 2.0}[name] for name in FIELD_NAMES])
    assert [card["lines"] for card in cards] == [["cached", "saves 2.0 s"], []]


def test_the_outline_follows_the_form_until_there_is_a_run(runs, values) -> None:
    form = [{**values, "target": 256, "aspect": "2:1"}[name] for name in FIELD_NAMES]
    assert len(outline(runs, None, form)["outline"]["stages"]) == 3
    assert outline(runs, "some-job", form)["outline"] is None


def test_a_form_is_planned_once_for_all_that_is_shown_of_it(runs, jobs, values, monkeypatch) -> None:
    made = []

    def plan(settings):
        made.append(settings)
        return make_plan(settings, runs._card)

    monkeypatch.setattr(jobs, "plan", plan)
    ahead = runs.forecast([values[name] for name in FIELD_NAMES])
    patch = runs.outline(None, ahead)
    assert patch["ahead"]["outline"]["stages"] and ahead.plan is not None
    assert len(made) == 1 and made[0].prompt == values["prompt"]


def test_tokens_and_hints_of_the_texts_are_said_before_a_run(runs, jobs, values, card, monkeypatch) -> None:
    notices = ("A ( is never closed.",)
    read = (
        TextLength(name="prompt", stage_px=0, tokens=83, chunks=2, room=75, notices=notices),
        TextLength(name="negative_prompt", stage_px=0, tokens=5, chunks=1, room=75),
        TextLength(name="prompt", stage_px=128, tokens=1200, chunks=16, room=75, notices=("Cut.",)),
        TextLength(name="negative_prompt", stage_px=128, tokens=0, chunks=1, room=75),
    )
    monkeypatch.setattr(jobs, "plan", lambda settings: replace(make_plan(settings, card), texts=read))
    form = [values[name] for name in FIELD_NAMES]
    assert outline(runs, None, form)["texts"] == {
        "counts": [
            {"name": "", "text": "83 of 150 tokens, 2 chunks", "cut": False},
            {"name": "Negative prompt", "text": "5 of 75 tokens", "cut": False},
            {"name": "Prompt at 128 px", "text": "1,200 of 1,200 tokens, 16 chunks", "cut": True},
        ],
        "notices": ["Prompt: A ( is never closed.", "Prompt at 128 px: Cut."],
    }
    # Another prompt is planned in place of one that is empty, and nothing is said of that.
    empty = [{**values, "prompt": ""}[name] for name in FIELD_NAMES]
    assert outline(runs, None, empty)["texts"] == {"counts": [], "notices": []}


def test_the_outline_of_what_cannot_be_is_empty(runs, values) -> None:
    form = [{**values, "aspect": "nonsense"}[name] for name in FIELD_NAMES]
    assert empty_stages(runs, form) == []


@pytest.fixture
def short_of_memory(jobs, card, monkeypatch) -> None:
    """Let GSPN need more memory than there is above 64 px, attention above 128 px."""

    def plan(settings):
        made = make_plan(settings, card)
        most = 64 if made.settings.mixer == "gspn" else 128
        stages = tuple(
            replace(stage, peak_bytes=stage.size.width * 10**7, fits=stage.size.width <= most)
            for stage in made.stages
        )
        return replace(made, stages=stages, budget_bytes=10**9)

    monkeypatch.setattr(jobs, "plan", plan)


@pytest.mark.usefixtures("short_of_memory")
def test_what_does_not_fit_is_helped_on_its_card_or_next_to_run(runs, values) -> None:
    form = [values[name] for name in FIELD_NAMES]
    patch = outline(runs, None, form)
    cards = patch["outline"]["stages"]
    assert [[suggestion["label"] for suggestion in card["suggestions"]] for card in cards] == [
        [],
        ["Use Self-attention", "Output size 64 instead"],
    ]
    assert (patch["text"], patch["over"], patch["suggestions"]) == ("", False, [])
    next_to = outline(runs, "some-job", form)
    assert next_to["over"] and next_to["suggestions"] == cards[1]["suggestions"]
    assert next_to["text"] == "128 × 128 px does not fit: needs 1.3 GB, of 1.0 GB."


@pytest.mark.usefixtures("short_of_memory")
def test_a_suggestion_changes_one_field_says_so_and_is_undone(runs, values) -> None:
    form = [values[name] for name in FIELD_NAMES]
    detail = empty_stages(runs, form)[1]["suggestions"][0]["detail"]
    patch = runs.suggestion(detail, form)
    assert set(patch) == {"mixer", "notice"} and patch["mixer"] == "attention"
    assert patch["notice"]["text"] == "Token mixing: Self-attention (was GSPN)."
    changed = [{**values, "mixer": "attention"}[name] for name in FIELD_NAMES]
    assert not any(card["over"] for card in empty_stages(runs, changed))
    assert runs.undo(patch["notice"]["undo"]) == {"mixer": "gspn", "notice": notice()}


@pytest.mark.parametrize(
    "asked",
    [{}, {"name": "prompt", "value": "x"}, {"name": ["mixer"]}, {"name": "mixer", "value": "x" * 10**4}],
)
def test_a_suggestion_that_no_one_offered_changes_nothing(runs, values, asked) -> None:
    patch = runs.suggestion(asked, [values[name] for name in FIELD_NAMES])
    assert set(patch) == {"notice"} and patch["notice"]["tone"] == "error"


def test_what_run_takes_is_said_without_the_stages_that_are_cached(
    runs, values, jobs, card, monkeypatch
) -> None:
    def plan(settings):
        made = make_plan(settings, card)
        stages = tuple(
            replace(stage, seconds=1.0 + stage.index, peak_bytes=(1 + stage.index) * 10**9)
            for stage in made.stages
        )
        return replace(made, stages=stages, budget_bytes=10**10)

    monkeypatch.setattr(jobs, "plan", plan)

    def ahead(**changes) -> str:
        return outline(runs, "some-job", [{**values, **changes}[name] for name in FIELD_NAMES])["text"]

    assert ahead() == "About 3.0 s, 2.0 GB."
    list(start(runs, values))
    assert ahead() == "Nothing changed. Run returns the cached images (saves 3.0 s)."
    assert ahead(gaussian_sigma=2.0) == "About 2.0 s, 2.0 GB. 64 × 64 is cached (saves 2.0 s)."


def test_changed_settings_are_named_and_reset_alone(runs, values) -> None:
    def changed(**changes) -> str:
        return outline(runs, "some-job", [{**values, **changes}[name] for name in FIELD_NAMES])["changed"]

    assert changed() == "" and changed(prompt="a toy boat", seed="12") == ""
    assert changed(num_inference_steps=4.0, target="128") == ""
    assert changed(guidance_scale=7) == "Changed: CFG scale"
    assert changed(ladder="", guidance_scale=None) == ""
    assert changed(gaussian_sigma=None) == "Changed: Blur σ"
    many = changed(guidance_scale=7, gaussian_sigma=2.0, keep_base=0.5, scheduler="ddim", target=64)
    assert many.startswith("Changed: ") and many.endswith(" and 2 more")
    reset = runs.reset([values[name] for name in FIELD_NAMES])
    assert not {"prompt", "seed", "start"} & set(reset)
    assert reset.pop("notice")["undo"] is None
    assert changed(**{**values, "guidance_scale": 7, **reset}) == ""
    assert changed(target=10**400, overrides=None) == "Changed: Output size"


def test_no_integer_beyond_64_bits_comes_back(runs) -> None:
    held = [10**300 for _ in FIELD_NAMES]
    for patch in (runs.reset(held), runs.preset({"name": "draft"}, held)):
        assert 10**300 not in ((patch["notice"]["undo"] or {}).values())
    assert runs.undo({"values": {"target": 10**300}})["notice"]["tone"] == "error"


def test_a_reset_is_undone_by_one_press(runs, values) -> None:
    held = {**values, "guidance_scale": 7, "target": 64, "prompt": "a toy boat"}
    patch = runs.reset([held[name] for name in FIELD_NAMES])
    undo = patch["notice"]["undo"]
    assert undo == {"values": {"guidance_scale": 7, "target": 64}}
    assert runs.undo(undo) == {"guidance_scale": 7, "target": 64, "notice": notice()}


@pytest.mark.parametrize(
    "sent",
    [
        None,
        {},
        {"values": {}},
        {"values": {"prompt": "x"}},
        {"values": {"seed": 1}},
        {"values": {"nothing": 1}},
        {"values": {"target": 64, "start": "x"}},
    ],
)
def test_an_undo_that_no_one_offered_changes_nothing(runs, sent) -> None:
    patch = runs.undo(sent)
    assert set(patch) == {"notice"} and patch["notice"]["tone"] == "error"


@pytest.mark.parametrize("sent", [{"values": [1]}, {"values": {"target": [64]}}, {"values": {"target": {}}}])
def test_an_undo_in_another_form_is_refused(runs, sent) -> None:
    with pytest.raises(BadSetting):
        runs.undo(sent)


def test_a_preset_is_marked_named_and_undone(runs, values) -> None:
    def shown(held) -> dict:
        return outline(runs, "some-job", [held[name] for name in FIELD_NAMES])

    assert shown(values)["preset"] == "balanced"
    patch = runs.preset({"name": "draft"}, [values[name] for name in FIELD_NAMES])
    assert patch["target"] == 64 and patch["num_inference_steps"] < values["num_inference_steps"]
    said = patch.pop("notice")
    assert said["text"].startswith("Draft: ") and "64 px" in said["text"]
    held = {**values, **patch}
    assert shown(held)["preset"] == "draft"
    assert shown(held)["changed"].startswith("Changed: ") and "Steps" in shown(held)["changed"]
    assert shown({**held, "guidance_scale": 2})["preset"] == "draft"
    assert shown({**held, "num_inference_steps": 1.5})["preset"] == ""
    before = runs.undo(said["undo"])
    assert before.pop("notice") == notice() and {**held, **before} == values
    assert set(runs.preset({"name": "none"}, [values[name] for name in FIELD_NAMES])) == {"notice"}


def test_presets_stay_within_what_a_model_reaches(card) -> None:
    small = replace(card, max_target_px=card.base_px, default_target_px=card.base_px)
    for model in (card, small):
        for own in preset_values(model).values():
            assert own["target"] in model.targets and own["num_inference_steps"] >= 1
    steps = [own["num_inference_steps"] for own in preset_values(card).values()]
    assert steps == sorted(steps)


def test_a_draft_takes_the_super_resolution_network_where_there_is_one(card) -> None:
    reached = replace(card, has_superres=True, default_target_px=card.base_px * 4)
    own = preset_values(reached)
    assert own["draft"]["ladder"] == f"{card.base_px} sr:{card.base_px * 4}"
    assert own["draft"]["target"] == card.base_px * 4 and own["balanced"]["ladder"] == reached.ladder
    plan = make_plan(Settings(prompt="a", **own["draft"]), reached)
    assert [stage.kind.name for stage in plan.stages] == ["generate", "sr"]
    assert "super-resolution" in does(own["draft"]) and "super-resolution" not in does(own["fine"])


@pytest.mark.parametrize("has_superres", [True, False])
@pytest.mark.parametrize("ladder", ["", "64 256"])
def test_a_form_as_at_first_and_one_left_to_the_model_are_balanced(card, has_superres, ladder) -> None:
    model = replace(card, has_superres=has_superres, ladder=ladder)
    first = initial_values(model)
    for held in (first, {**first, "ladder": ""}):
        assert preset_of([held[name] for name in FIELD_NAMES], model) == "balanced"
    for name, own in preset_values(model).items():
        assert preset_of([{**first, **own}[field] for field in FIELD_NAMES], model) == name


def test_a_student_keeps_its_steps_in_every_preset(card) -> None:
    own = preset_values(replace(card, guidance_scale=1.0))
    assert {each["num_inference_steps"] for each in own.values()} == {card.num_inference_steps}
