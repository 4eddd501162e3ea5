"""A batch on the page: what is asked for, what is shown while it is drawn, and what goes on."""

from __future__ import annotations

import pytest

from gspn_core.planning.plan import make_plan
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES
from tests.gspn_core.conftest import CARD, Engine, Gate
from ui.form.form import initial_values
from ui.studio.handlers import Runs
from ui.studio.props import ahead_props

ANN, BEN = "a-visitor-token", "another-visitor-token"


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def jobs(engine, tmp_path):
    jobs = RunQueue(
        engine.run, tmp_path / "jobs", plan=lambda settings: make_plan(settings, CARD), view_seconds=0.0
    )
    yield jobs
    jobs.close()


@pytest.fixture
def runs(jobs) -> Runs:
    return Runs(jobs, CARD, machine=lambda: "a machine")


def values(**changes) -> list:
    held = {**initial_values(CARD), "prompt": "a lake", "seed": "7", **changes}
    return [held[name] for name in FIELD_NAMES]


def drawn(runs: Runs, pictures: int = 3) -> list[dict]:
    return list(runs.start(values(), ANN, pictures))


def test_the_screen_shows_each_picture_while_it_is_drawn_and_all_of_them_at_the_end(runs):
    patches = drawn(runs)
    assert len(list(dict.fromkeys(patch["job"] for patch in patches))) == 3
    last = patches[-1]
    assert last["job"] == last["screen"]["job"]
    row = last["screen"]["batch"]
    assert [one["state"] for one in row] == ["done"] * 3
    assert all(one["source"] for one in row)
    assert [one["shown"] for one in row] == [False, False, True]
    assert row[1]["label"] == "Picture 2 of 3, seed 8"
    assert last["run"]["interactive"]
    assert not last["stop"]["interactive"]


def test_while_pictures_are_drawn_stop_is_offered_and_the_headline_counts_them(runs):
    for patch in drawn(runs)[1:]:
        live = any(one["state"] in ("queued", "running") for one in patch["screen"]["batch"])
        assert patch["stop"]["interactive"] == live
        if patch["screen"]["state"] == "running":
            assert patch["screen"]["panel"]["headline"].endswith("of 3")


def test_one_picture_is_a_run_to_its_target_as_ever(runs):
    last = drawn(runs, 1)[-1]
    assert last["screen"]["batch"] == []
    assert len(last["screen"]["stages"]) > 1


@pytest.mark.parametrize("pictures", [0, 9, 2.5, "4", None, True, float("inf"), float("nan")])
def test_a_count_that_cannot_be_is_refused_at_its_field(runs, pictures):
    (patch,) = runs.start(values(), ANN, pictures)
    assert patch["notice"]["field"] == "pictures"
    assert patch["notice"]["tone"] == "error"
    assert runs.forecast(values(), pictures).pictures == 1


def test_a_picture_that_is_chosen_is_shown_and_leaves_the_form(runs):
    first = drawn(runs)[-1]["screen"]["batch"][0]["job"]
    patch = runs.look(first, ANN)
    assert patch["job"] == first
    assert [one["shown"] for one in patch["screen"]["batch"]] == [True, False, False]
    assert not set(patch) & set(FIELD_NAMES)
    assert not patch["screen"]["follow"]


def test_a_chosen_picture_goes_on_without_being_drawn_again(runs, engine):
    first = drawn(runs)[-1]["screen"]["batch"][0]["job"]
    (action, *_) = runs.look(first, ANN)["screen"]["actions"]["run"]
    target = initial_values(CARD)["target"]
    assert (action["name"], action["label"]) == ("resume", f"Upscale to {target}")
    patch = runs.resume(action["detail"]["job"], ANN)
    assert not set(patch) & set(FIELD_NAMES)
    *_, last = runs.follow(patch["job"], ANN)
    assert last["screen"]["state"] == "done"
    assert [len(found) for found in engine.finished] == [0, 0, 0, 1]
    assert last["screen"]["stages"][-1]["width"] == target
    # The row stays, so that another one can be chosen.
    assert [one["shown"] for one in last["screen"]["batch"]] == [True, False, False]


def test_variations_of_a_result_are_shown_in_a_row_and_leave_the_form(runs):
    whole = drawn(runs, 1)[-1]["job"]
    patch = runs.vary(whole, ANN)
    assert patch["screen"]["follow"]
    assert not set(patch) & set(FIELD_NAMES)
    *_, last = runs.follow(patch["job"], ANN)
    row = last["screen"]["batch"]
    assert [one["state"] for one in row] == ["done"] * 4
    assert row[2]["label"] == "Picture 3 of 4, seed 7, variation seed 3"
    assert ("Variation", "4 at 0.3") in map(tuple, last["screen"]["panel"]["rows"])
    gone_on = runs.resume(row[1]["job"], ANN)
    *_, last = runs.follow(gone_on["job"], ANN)
    assert [one["shown"] for one in last["screen"]["batch"]] == [False, True, False, False]


def test_a_batch_is_shown_again_after_a_reload(runs):
    job = drawn(runs)[-1]["job"]
    *_, last = runs.restore(None, job, ANN)
    assert len(last["screen"]["batch"]) == 3
    first = next(patch for patch in runs.restore(None, job, ANN) if "prompt" in patch)
    # The form asks for the batch again, and not for one that begins at the picture on the screen.
    assert (first["pictures"], first["seed"]) == (3, "7")
    assert runs.open(drawn(runs, 1)[-1]["job"], ANN)["pictures"] == 1
    *_, guest = runs.restore(job, None, BEN)
    assert guest["screen"]["batch"] == []


def test_a_chosen_picture_stays_while_the_others_are_drawn(runs, engine):
    gate = Gate(at=3)
    engine.before_event = lambda settings, number: gate(settings, number) if settings.seed == 8 else None
    started = runs.start(values(), ANN, 3)
    for patch in started:
        if patch.get("screen", {}).get("job") and patch["screen"]["batch"][1]["state"] == "running":
            break
    gate.wait()
    first = patch["screen"]["batch"][0]["job"]
    shown = runs.look(first, ANN)
    assert shown["screen"]["follow"]
    assert shown["stop"]["interactive"]
    followed = runs.follow(first, ANN)
    next(followed)
    gate.open()
    patches = list(followed)
    assert {patch["screen"]["job"] for patch in patches} == {first}
    assert [one["state"] for one in patches[-1]["screen"]["batch"]] == ["done"] * 3
    started.close()


def test_stop_ends_the_whole_batch_and_keeps_what_is_drawn(runs, engine):
    gate = Gate(at=3)
    engine.before_event = lambda settings, number: gate(settings, number) if settings.seed == 8 else None
    started = runs.start(values(), ANN, 4)
    for patch in started:
        if patch.get("screen", {}).get("job") and patch["screen"]["batch"][1]["state"] == "running":
            break
    gate.wait()
    runs.stop(patch["screen"]["batch"][0]["job"], ANN)
    gate.open()
    *_, last = started
    assert [one["state"] for one in last["screen"]["batch"]] == ["done", "stopped", "stopped", "stopped"]
    assert last["run"]["interactive"]


def test_next_to_run_stands_what_the_batch_takes(runs):
    drawn(runs, 1)
    assert ahead_props(runs.forecast(values(), 4))["text"].startswith("1 of them is cached")
    drawn(runs, 3)
    assert ahead_props(runs.forecast(values(), 3))["text"] == "All are cached."
