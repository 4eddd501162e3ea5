from __future__ import annotations

import dataclasses

import pytest

from gspn_core.errors import BadSetting, GspnError
from gspn_core.runs.pairs import PairFigures
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import FileWritten, RunView
from ui.compare.compare import asked_for, compare_props, find_item, loaded, measured, pair_props, pane_names
from ui.shared.strings import compare_strings, labels

ONE, OTHER = "a" * 22, "b" * 22


@pytest.fixture
def jobs(view_after):
    """Runs by id that answer as jobs do; the second has another sigma, and a seed of its own at 128 px."""

    class Runs:
        asked: list = []
        error: Exception | None = None

        def __init__(self) -> None:
            one = view_after()
            other = view_after(gaussian_sigma=2.0, overrides="128.seed=9")
            self.views = {ONE: self._written(one, ONE, 2), OTHER: self._written(other, OTHER, 2)}

        def _written(self, view: RunView, job_id: str, count: int) -> RunView:
            view = dataclasses.replace(view, id=job_id)
            for stage in range(count):
                view = apply_event(
                    view, FileWritten(stage=stage, kind="proxy", path=f"/jobs/{job_id}/{stage}.jpg")
                )
            return view

        def view(self, job_id: str) -> RunView:
            if job_id not in self.views:
                raise GspnError("There is no such run here.")
            return self.views[job_id]

        def compare(self, one, other) -> PairFigures:
            self.asked.append((one, other))
            if self.error:
                raise self.error
            return PairFigures(
                height=64, width=64, psnr=31.26, ssim=0.91, heat_path="/jobs/a/pair.png", heat_top=40.0
            )

    return Runs()


def test_a_stage_is_found_by_run_and_number_and_a_run_alone_means_its_last(jobs):
    assert find_item(jobs, f"{ONE}.0").stage.index == 0
    assert find_item(jobs, ONE).reference == f"{ONE}.1"


@pytest.mark.parametrize(
    "reference", ["", "x", f"{ONE}.9", f"{ONE}.", "../../etc/passwd.1", "c" * 22 + ".0", None, 3, ["a"]]
)
def test_what_is_no_finished_stage_is_refused_in_a_sentence(jobs, reference):
    with pytest.raises(GspnError, match=r"^There is no"):
        find_item(jobs, reference)


def test_stages_are_lettered_in_the_order_asked_for_and_at_most_four(jobs):
    shown = loaded(jobs, [f"{OTHER}.1", f"{ONE}.1", f"{ONE}.0", f"{OTHER}.0", f"{ONE}.1"])
    assert [item["letter"] for item in shown["items"]] == ["A", "B", "C", "D"]
    assert [item["ref"] for item in shown["items"]][:2] == [f"{OTHER}.1", f"{ONE}.1"]
    card = shown["items"][0]["card"]
    assert (card["width"], card["png"]) == (128, None)
    assert card["proxy"].endswith("/1.jpg")


def test_what_is_not_there_is_said_and_the_rest_is_shown(jobs):
    shown = loaded(jobs, [f"{ONE}.0", "stranger", f"{OTHER}.0"])
    assert len(shown["items"]) == 2
    assert "stranger" in shown["said"]


def test_an_answer_names_what_it_answers_so_that_a_late_one_is_said(jobs):
    asked = [f"{ONE}.0", "stranger", f"{OTHER}.0"]
    assert loaded(jobs, asked)["asked"] == asked
    assert compare_props(())["asked"] == []


def test_a_run_that_is_there_by_its_stage_is_not_shown_twice(jobs):
    shown = loaded(jobs, [f"{ONE}.1", ONE, f"{ONE}.0"])
    assert [item["ref"] for item in shown["items"]] == [f"{ONE}.1", f"{ONE}.0"]


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        (None, []),
        ({}, []),
        (3, []),
        ({"items": None}, []),
        ({"items": "a.1"}, []),
        ({"items": [None, 3, "a.1"]}, ["", "", "a.1"]),
        ({"items": ["a.1"] * 9}, ["a.1"] * 4),
    ],
)
def test_whatever_an_event_brings_is_read_as_a_few_references(data, asked):
    assert asked_for(data) == asked


def test_only_settings_that_differ_are_listed_and_overrides_count_for_their_stage(jobs):
    shown = loaded(jobs, [f"{ONE}.1", f"{OTHER}.1"])
    assert shown["differ"] == [
        [labels.LABELS["gaussian_sigma"], ["0.2", "2"]],
        [labels.LABELS["seed"], ["7", "9"]],
    ]
    same = dict(map(tuple, shown["same"]))
    assert same[labels.LABELS["prompt"]] == "a toy house"
    assert same[labels.LABELS["mixer"]] == "GSPN"
    assert labels.LABELS["target"] not in same


def test_a_first_stage_does_not_differ_in_what_it_does_not_read(jobs):
    shown = loaded(jobs, [f"{ONE}.0", f"{ONE}.1"])
    assert shown["differ"] == []
    # Of the figures too, only those that differ.
    facts = compare_strings.ROWS
    assert [label for label, _ in shown["facts"]] == [facts["size"], facts["seconds"]]
    assert facts["memory"] in dict(map(tuple, shown["same"]))
    assert dict(map(tuple, shown["same"]))[labels.LABELS["gaussian_sigma"]] == "0.2"


def test_nothing_to_compare_is_an_empty_place():
    shown = compare_props(())
    assert shown["items"] == shown["facts"] == shown["same"] == shown["differ"] == []


def test_the_figures_of_the_first_two_are_shown_with_their_map(jobs):
    pair = measured(jobs, [f"{ONE}.1", f"{OTHER}.0", f"{ONE}.0"])
    assert jobs.asked[-1] == ((ONE, 1), (OTHER, 0))
    assert (pair["psnr"], pair["ssim"]) == ("31.3 dB", "0.910")
    assert pair["card"]["proxy"].endswith("pair.png")
    assert "64 × 64" in pair["note"] and "40 of 255" in pair["scale"]


def test_equal_pictures_have_no_number_of_decibels():
    figures = PairFigures(height=8, width=8, psnr=None, ssim=1.0, heat_path="/a.png", heat_top=8.0)
    assert pair_props(figures)["psnr"] == "equal"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GspnError("not written yet"), "not written yet"),
        (BadSetting("picture", "other shapes"), "other shapes"),
    ],
)
def test_why_there_are_no_figures_is_said(jobs, error, said):
    jobs.error = error
    assert measured(jobs, [f"{ONE}.1", f"{OTHER}.0"]) == {"error": said}
    assert measured(jobs, [f"{ONE}.1"]) == {"error": compare_strings.TWO}
    assert measured(jobs, []) == {"error": compare_strings.TWO}
    assert "error" in measured(jobs, [f"{ONE}.1", "stranger"])


def test_panes_are_named_by_the_settings_that_differ(jobs):
    names = [item["name"] for item in loaded(jobs, [f"{ONE}.1", f"{OTHER}.1"])["items"]]
    assert names == ["Blur σ 0.2, Seed 7", "Blur σ 2, Seed 9"]
    sizes = [item["name"] for item in loaded(jobs, [f"{ONE}.0", f"{ONE}.1"])["items"]]
    assert sizes == ["64 × 64", "128 × 128"]


def test_a_pane_of_many_differences_names_two_and_cuts_long_values(jobs):
    items = [find_item(jobs, f"{name}.1") for name in (ONE, OTHER)]
    differ = [("Prompt", ["a" * 60, "b"], "prompt"), ("Seed", [1, 2], "seed"), ("Steps", [2, 4], "steps")]
    one, other = pane_names(items, differ)
    assert one == f"Prompt {'a' * 27}…, Seed 1, +1"
    assert other == "Prompt b, Seed 2, +1"
