"""Run both: one form and one seed with two mixers, compared once both are done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from gspn_core.errors import Busy
from gspn_core.planning.plan import make_plan
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES
from tests.ui.studio.conftest import screens
from ui.studio.both import can_run_both
from ui.studio.handlers import Runs


@pytest.fixture
def jobs(engine, card, tmp_path) -> Iterator[RunQueue]:
    jobs = RunQueue(
        engine.run, tmp_path / "jobs", plan=lambda settings: make_plan(settings, card), view_seconds=0.0
    )
    yield jobs
    engine.go.set()
    jobs.close()


def both(runs: Runs, values: dict, visitor: str = "v" * 22) -> Iterator[dict]:
    return runs.both([values[name] for name in FIELD_NAMES], visitor)


@pytest.mark.parametrize(("chosen", "rival"), [("gspn", "attention"), ("attention", "gspn")])
def test_the_second_run_has_the_other_mixer_and_the_seed_that_the_first_one_drew(
    runs, jobs, values, chosen, rival
) -> None:
    patches = list(both(runs, {**values, "mixer": chosen, "seed": ""}))
    ids = list(dict.fromkeys(patch["job"] for patch in patches if "job" in patch))
    one, other = (jobs.view(job) for job in ids)
    assert (one.settings["mixer"], other.settings["mixer"]) == (chosen, rival)
    assert one.settings == {**other.settings, "mixer": chosen}
    assert one.seed_drawn and other.seed_drawn
    last = screens(patches)[-1]
    assert (last["job"], last["state"]) == (other.id, "done")
    assert last["compare_with"] == f"{one.id}.{len(one.stages) - 1}"
    assert not any(screen["compare_with"] for screen in screens(patches) if screen["job"] == one.id)


def test_where_the_first_is_stopped_the_second_is_too(runs, jobs, values, engine) -> None:
    engine.go.clear()
    patches = both(runs, values)
    first = next(patch["job"] for patch in patches if "job" in patch)
    runs.stop(first, "v" * 22)
    engine.go.set()
    rest = screens(list(patches))
    assert {screen["job"] for screen in rest} == {first} and rest[-1]["state"] == "stopped"
    (second,) = {run.id for run in jobs.history("v" * 22)} - {first}
    *_, last = jobs.follow(second)
    assert last.state == "stopped"


def test_where_one_cannot_be_queued_neither_is(runs, jobs, values, engine, monkeypatch) -> None:
    submit = jobs.submit

    def first_alone(plan, **options):
        if plan.settings.mixer != values["mixer"]:
            raise Busy("The queue is full with 9 waiting runs; try again later.")
        return submit(plan, **options)

    monkeypatch.setattr(jobs, "submit", first_alone)
    engine.go.clear()
    (patch,) = both(runs, values)
    assert patch["notice"]["tone"] == "error" and "queue is full" in patch["notice"]["text"]
    (only,) = jobs.history("v" * 22)
    engine.go.set()
    *_, last = jobs.follow(only.id)
    assert last.state == "stopped"


def test_a_refused_setting_is_said_at_its_field(runs, values) -> None:
    (patch,) = both(runs, {**values, "prompt": " "})
    assert patch["notice"]["field"] == "prompt"


def test_it_needs_both_mixers(card) -> None:
    assert can_run_both(card)
    assert not can_run_both(dataclasses.replace(card, mixers=("attention", "neighborhood")))
