from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from gspn_core.errors import GspnError
from gspn_core.kinds.kind import OTHER_MODELS
from gspn_core.lora.files import LoraFile
from gspn_core.planning.conditions import ConditionFile
from gspn_core.planning.plan import make_plan
from gspn_core.planning.upscalers import UpscalerFile
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES
from gspn_core.studies.axis import AXIS_NAMES, parse_axis
from gspn_core.studies.runner import Studies
from ui.form.form import REFINER, initial_values
from ui.form.steering import FIELDS
from ui.lab.grid import grids_of
from ui.lab.lab import Lab, build_lab
from ui.shared.strings import lab_strings, labels, units

ANNA = "anna's token"


@pytest.fixture
def jobs(events_of, card, tmp_path):
    def run(plan, should_stop, finished=()):
        assert not should_stop()
        yield from (event for event in events_of(plan.settings) if not finished or event is not None)

    jobs = RunQueue(run, tmp_path / "jobs", plan=lambda settings: make_plan(settings, card), view_seconds=0.0)
    yield jobs
    jobs.close()


@pytest.fixture
def studies(jobs):
    studies = Studies(jobs, calls_of=lambda stage: stage.steps)
    yield studies
    studies.close()


@pytest.fixture
def lab(studies, jobs, card) -> Lab:
    return Lab(studies, jobs, card)


@pytest.fixture
def form(card) -> list:
    values = {**initial_values(card), "seed": "7", "target": 64}
    return [values[name] for name in FIELD_NAMES]


def asked(*axes: tuple) -> dict:
    return {"axes": [dict(zip(("name", "text", "stage"), axis, strict=False)) for axis in axes]}


def test_axes_are_counted_and_priced_before_anything_runs(lab, form, jobs):
    shown = lab.price(asked(("guidance_scale", "1, 2, 3"), ("seed", "2 from 1")), form)
    assert [axis["count"] for axis in shown["axes"]] == ["3 values", "2 values"]
    assert (
        shown["ready"]
        and shown["cost"] == f"6 cells: 6 stages to run; 24 UNet calls; {lab_strings.TIME_UNKNOWN}."
    )
    assert not jobs.folder.exists()


def test_cells_that_ask_for_the_same_picture_are_said(lab, form):
    # The only stage of a target of 64 px reads no upscale strength.
    shown = lab.price(asked(("upscale_strength", "0.2, 0.4, 0.6")), form)
    assert shown["cost"].startswith("3 cells, only 1 image: 1 stage to run, 2 shared")


def test_what_an_axis_gives_need_not_be_in_the_form(lab, form):
    form[FIELD_NAMES.index("prompt")] = ""
    form[FIELD_NAMES.index("guidance_scale")] = "lots"
    shown = lab.price(asked(("prompt", "a toy house\na toy boat"), ("guidance_scale", "1, 2")), form)
    assert shown["ready"] and shown["cost"].startswith("4 cells:")


def test_an_answer_tells_which_question_it_answers(lab, form):
    assert lab.price({"turn": 7, **asked(("seed", "1"))}, form)["turn"] == 7


def test_every_setting_says_how_its_values_are_written(card):
    upscaler = UpscalerFile(name="a", digest="", scale=4, parameters=1, px_elements=1, px_operations=1.0)
    files = SimpleNamespace(all=lambda: (LoraFile(name="snow", path=""),))
    given = {"upscalers": (upscaler,), "conditions": (ConditionFile(name="edges", path=""),), "loras": files}
    whole = dataclasses.replace(card, has_refiner=True, x4="a digest", **given)
    names = build_lab(whole).props["names"]
    assert [name for name, *_ in names] == list(AXIS_NAMES)
    hints = {name: hint for name, *_, hint in names}
    assert all(hints.values())
    assert all(mixer in hints["mixer"] for mixer in card.mixers)


def test_a_model_without_a_refiner_controls_or_upscalers_has_no_axes_of_them(card):
    names = {name for name, *_ in build_lab(card).props["names"]}
    assert names == set(AXIS_NAMES) - {*REFINER, *FIELDS, "loras"} - OTHER_MODELS


def test_what_is_wrong_with_an_axis_is_said_in_the_pages_words(lab, form):
    shown = lab.price(asked(("guidance_scale", "lots")), form)
    assert shown["axes"][0]["error"].startswith("'lots' is not a number for CFG scale;")
    shown = lab.price(asked(("upscale_strength", "0.3, 7")), form)
    assert shown["error"].startswith("Upscale denoise must be a number from 0.02 to 1")


def test_a_cell_is_enlarged_from_its_run(lab, form):
    begun = lab.begin(asked(("seed", "1, 2")), form, ANNA)
    *_, last = lab.watch({"study": begun["id"]}, ANNA)
    cell = last["study"]["cells"][1]
    answer = lab.card({"ref": cell["ref"]})
    assert (answer["ref"], answer["error"]) == (cell["ref"], "")
    assert cell["job"] in answer["card"]["proxy"] and answer["card"]["width"] == 64
    for ref in (None, "stranger", "../../etc/passwd.0", 3):
        answer = lab.card({"ref": ref})
        assert answer["card"] is None and "There is no" in answer["error"]


def test_a_curve_runs_along_the_other_axis_where_the_one_across_has_no_order(lab, form):
    begun = lab.begin(asked(("guidance_scale", "1, 2"), ("seed", "1, 2")), form, ANNA)
    *_, last = lab.watch({"study": begun["id"]}, ANNA)
    curve = last["study"]["curve"]
    assert (curve["across"], curve["numbers"]) == (False, [1.0, 2.0])


def test_the_base_leaves_out_what_is_an_axis_and_says_an_open_seed(lab, form):
    rows = dict(map(tuple, lab.price(asked(("mixer", "all")), form)["base"]))
    assert rows[labels.LABELS["seed"]] == "7" and labels.LABELS["mixer"] not in rows
    form[FIELD_NAMES.index("seed")] = ""
    rows = dict(map(tuple, lab.price(asked(("mixer", "all")), form)["base"]))
    assert rows[labels.LABELS["seed"]] == lab_strings.DRAWN_ONCE


@pytest.mark.parametrize(
    "axes", [{}, {"axes": 0}, {"axes": [3, None]}, {"axes": [{"name": "seed"}]}, {"axes": [{"text": []}]}]
)
def test_axes_without_values_are_no_error_and_not_ready(lab, form, axes):
    shown = lab.price(axes, form)
    assert not shown["ready"] and shown["error"] == "" and shown["cost"] == lab_strings.NO_VALUES


def test_what_is_wrong_is_said_at_its_axis_or_under_both(lab, form):
    shown = lab.price(asked(("gaussian_sigma", "lots"), ("seed", "1")), form)
    assert "is not a number for Blur σ" in shown["axes"][0]["error"] and not shown["ready"]
    shown = lab.price(asked(("seed", "1"), ("seed", "2")), form)
    assert "both axes are seed" in shown["error"] and not shown["ready"]
    form[FIELD_NAMES.index("prompt")] = ""
    assert "Prompt is empty" in lab.price(asked(("seed", "1")), form)["error"]
    assert lab.begin(asked(("seed", "1")), form, ANNA)["kind"] == "setup"


def test_a_study_is_followed_to_its_end_as_a_grid(lab, form, jobs):
    begun = lab.begin(asked(("guidance_scale", "1, 2"), ("gaussian_sigma", "0.5", "128")), form, ANNA)
    *_, last = lab.watch({"study": begun["id"]}, ANNA)
    study = last["study"]
    assert (study["state"], study["count"], study["own"]) == ("done", "2 of 2 cells", True)
    assert (study["rows"], study["columns"]) == (["1", "2"], ["0.5"])
    assert study["across"] == lab_strings.label_at(labels.LABELS["gaussian_sigma"], 128)
    for cell in study["cells"]:
        assert cell["state"] == "done" and cell["ref"] == f"{cell['job']}.0"
        assert "thumb.jpg?v=0" in cell["thumb"]
        assert cell["figures"]["seconds"][0] > 0 and cell["figures"]["detail"] == [None, units.UNKNOWN]
    assert len(jobs.history(ANNA)) == 2
    assert lab.study_props(lab._studies.view(begun["id"]), "ben")["own"] is False


@pytest.mark.parametrize(
    ("adherence", "figure"), [(None, [None, "—"]), (lambda _prompt, _picture: 0.75, [0.75, "75 %"])]
)
def test_what_a_cell_shows_of_its_prompt_is_offered_where_it_can_be_said(jobs, card, form, adherence, figure):
    studies = Studies(jobs, adherence=adherence)
    lab = Lab(studies, jobs, card)
    *_, last = lab.watch({"study": lab.begin(asked(("seed", "1")), form, ANNA)["id"]}, ANNA)
    studies.close()
    assert last["study"]["tells_adherence"] is (adherence is not None)
    assert last["study"]["cells"][0]["figures"]["adherence"] == figure


def test_numbers_make_a_curve_and_names_do_not(lab, studies, card, form):
    for name, text, numbers in (
        ("guidance_scale", "1, 2", [1.0, 2.0]),
        ("mixer", "all", None),
        ("seed", "1, 2", None),
    ):
        shown = lab.price(asked((name, text)), form)
        assert shown["ready"]
        axis = parse_axis(name, text, card)
        draft = studies.draft(dataclasses.replace(_settings(form), seed=1), [axis])
        study = studies.start(draft, visitor=ANNA)
        *_, last = lab.watch({"study": study}, ANNA)
        assert (last["study"]["curve"] or {}).get("numbers") == numbers


def _settings(form):
    from ui.form.form import settings_from

    return settings_from(form)


def test_the_visitors_studies_are_listed_and_can_be_removed(lab, form):
    begun = lab.begin(asked(("seed", "1, 2")), form, ANNA)
    list(lab.watch({"study": begun["id"]}, ANNA))
    (study,) = lab.listed(ANNA)["studies"]
    assert (study["id"], study["state"], study["count"]) == (begun["id"], "Done", "2 of 2 cells")
    assert lab.listed("ben")["studies"] == lab.listed("")["studies"] == []
    assert "Only the browser" in lab.change({"study": begun["id"], "what": "remove"}, "ben")["said"]
    gone = lab.change({"study": begun["id"], "what": "remove"}, ANNA)
    assert (gone["studies"], gone["lost"]) == ([], begun["id"])


@pytest.mark.parametrize("what", ["stop", "resume", "skip", "retry", "remove"])
@pytest.mark.parametrize("study", ["stranger", "../../etc/passwd", None, 3])
def test_a_study_that_is_not_there_is_said(lab, what, study):
    assert "There is no grid" in lab.change({"study": study, "what": what, "cell": 0}, ANNA)["said"]
    (said,) = lab.watch({"study": study}, ANNA)
    assert "There is no grid" in said["said"]
    assert "There is no grid" in lab.archive({"study": study})["said"]


def test_an_archive_has_an_address_that_no_browser_has_kept(lab, form, jobs):
    begun = lab.begin(asked(("seed", "1, 2")), form, ANNA)
    list(lab.watch({"study": begun["id"]}, ANNA))
    first, second = (lab.archive({"study": begun["id"]}) for _ in range(2))
    assert first["kind"] == "archive" and first["url"] != second["url"]
    assert (jobs.folder / "studies" / begun["id"] / "study.zip").is_file()
    assert first["name"].endswith(".zip")


def test_a_refused_start_is_said_where_the_cost_stands(lab, form, studies, monkeypatch):
    def full(*_args, **_options):
        raise GspnError("The maximum of 8 studies is running.")

    monkeypatch.setattr(studies, "start", full)
    shown = lab.begin(asked(("seed", "1, 2")), form, ANNA)
    assert (shown["kind"], shown["error"]) == ("setup", "The maximum of 8 studies is running.")


@pytest.mark.parametrize(("label", "axes"), lab_strings.PRESETS)
def test_a_grid_to_begin_with_is_ready_to_run(lab, form, label, axes):
    values = [*form]
    values[FIELD_NAMES.index("target")] = 128
    shown = lab.price(asked(*reversed(axes)), values)
    assert shown["ready"] and label, shown
    assert len(shown["axes"]) == len(axes)


def test_the_empty_text_is_a_value_with_a_name(lab, form, studies):
    shown = lab.price(asked(("negative_prompt", "\nfog")), form)
    assert shown["ready"] and shown["axes"][0]["count"] == "2 values"
    begun = lab.begin(asked(("negative_prompt", "\nfog")), form, ANNA)
    grid = lab.study_props(studies.view(begun["id"]), ANNA)
    assert grid["columns"] == [lab_strings.EMPTY_TEXT, "fog"]
    assert [label for label, _ in grid["facts"]][0] == labels.LABELS["prompt"]
    view = list(studies.follow(begun["id"]))[-1]
    title = labels.LABELS["negative_prompt"]
    assert grids_of([view]) == {cell.job_id: (view.id, title) for cell in view.cells}
