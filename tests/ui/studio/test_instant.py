"""The part of Instant: why nothing is drawn, what is sent of one, and how Run continues from it."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from typing import get_args

import gradio as gr
import pytest
from PIL import Image

from gspn_core.planning.plan import make_plan
from gspn_core.runs.instant import Obstacle, Refusal
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES
from tests.ui.conftest import run_events
from tests.ui.studio.conftest import screens, start
from ui.shared.strings import instant_strings
from ui.studio.handlers import Runs
from ui.studio.instant import build_instant, offer_props, sketch_of

VISITOR = "a-visitor"


class Clock:
    """Predicts what a first stage takes: so much, and so much more with each step."""

    decode, step = 0.1, 0.05


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(card, clock, tmp_path):
    def plan(settings):
        made = make_plan(settings, card)
        first = made.stages[0]
        seconds = None if clock.step is None else clock.decode + clock.step * first.num_inference_steps
        return dataclasses.replace(
            made, stages=(dataclasses.replace(first, seconds=seconds), *made.stages[1:])
        )

    def run(plan, _should_stop, *, finished=(), **_options):
        events = run_events(plan.settings, card)
        for event in events:
            stage = getattr(event, "stage", len(finished))
            if getattr(stage, "index", stage) >= len(finished):
                # The stages of the plan, so that their keys are its own.
                index = getattr(stage, "index", None)
                yield event if index is None else dataclasses.replace(event, stage=plan.stages[index])

    jobs = RunQueue(run, tmp_path / "jobs", plan=plan, view_seconds=0.0)
    yield jobs
    jobs.close()


@pytest.fixture
def runs(jobs, card) -> Runs:
    return Runs(jobs, card, machine=lambda: "a machine")


def form(values: dict, **changes) -> list:
    return [{**values, **changes}[name] for name in FIELD_NAMES]


def offer(runs: Runs, values: dict, **changes) -> dict:
    return offer_props(runs.forecast(form(values, **changes)))


def test_a_sketch_is_sent_with_its_seed_and_as_json(jobs, values) -> None:
    answer = json.loads(json.dumps(sketch_of(jobs, form(values), VISITOR)))
    sketch = answer["sketch"]
    assert sketch["title"] == "Sketch 64 × 64" and sketch["lines"][0].endswith(" ms")
    assert answer["said"] == "seed 7" and not answer["drawn_seed"] and not answer["again"]
    kind, _, data = sketch["source"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (64, 64)
    assert values["prompt"] not in json.dumps(answer)
    assert sketch_of(jobs, form(values), VISITOR)["sketch"]["lines"][0] == "cached"


@pytest.mark.parametrize("changes", [{"prompt": ""}, {"seed": "x"}, {"target": 100}, {"prompt": ["a"]}])
def test_an_unfinished_form_has_no_sketch_and_nothing_is_said_of_it(runs, jobs, values, changes) -> None:
    answer = sketch_of(jobs, form(values, **changes), VISITOR)
    assert (answer["sketch"], answer["said"], answer["again"]) == (None, "", False)
    assert offer(runs, values, **changes)["key"] == ""


def test_a_page_without_a_token_has_no_sketch(jobs, values) -> None:
    assert sketch_of(jobs, form(values), "")["sketch"] is None


def test_a_device_in_use_is_said_and_asked_for_again(jobs, values, monkeypatch) -> None:
    monkeypatch.setattr(jobs.instant, "draw", lambda *_, **__: "busy")
    answer = sketch_of(jobs, form(values), VISITOR)
    assert answer["said"] == instant_strings.REFUSED["busy"] and answer["again"]
    monkeypatch.setattr(jobs.instant, "draw", lambda *_, **__: "superseded")
    assert sketch_of(jobs, form(values), VISITOR) == gr.skip()


def test_the_offer_changes_with_what_the_first_stage_reads(runs, values) -> None:
    first = offer(runs, values, seed="")
    assert first["key"] and first["off"] == ""
    assert offer(runs, values, seed="") == first
    assert offer(runs, values, seed="", target=256, gaussian_sigma=2.0) == first
    keys = {offer(runs, values, **changes)["key"] for changes in ({}, {"seed": "8"}, {"prompt": "a boat"})}
    assert len(keys | {first["key"]}) == 4


def test_a_slow_first_stage_is_off_and_the_steps_that_are_named_turn_it_on(runs, clock, values) -> None:
    clock.step = 0.5
    off = offer(runs, values)["off"]
    assert off == "Off: a sketch takes 2.1 s, 2 s at most. Up to 3 steps are fast enough."
    assert offer(runs, values, num_inference_steps=3)["off"] == ""
    clock.decode = 3.0
    assert offer(runs, values)["off"].endswith("Choose a faster model.")
    clock.step = None
    assert offer(runs, values)["off"] == instant_strings.OFF["unknown"]


def test_every_obstacle_and_refusal_has_words(runs, values) -> None:
    assert set(instant_strings.OFF) == set(get_args(Obstacle)) - {"slow"}
    assert set(instant_strings.REFUSED) == set(get_args(Refusal)) - {"superseded"}
    assert offer(runs, values)["off"] == ""


def test_run_takes_the_sketch_and_its_seed_once(runs, jobs, values) -> None:
    sketched = sketch_of(jobs, form(values, seed=""), VISITOR)
    assert sketched["drawn_seed"]
    *_, end = runs.start(form(values, seed=""), VISITOR)
    view = jobs.view(end["job"])
    assert sketched["said"] == f"seed {view.settings['seed']}" and view.seed_drawn
    assert [stage.reused for stage in view.stages] == [True, False]
    assert end["screen"]["stages"][0]["lines"][0] == "cached"
    *_, again = runs.start(form(values, seed=""), VISITOR)
    assert jobs.view(again["job"]).settings["seed"] != view.settings["seed"]


def test_run_draws_a_seed_of_its_own_where_the_form_has_changed_since(runs, jobs, values) -> None:
    sketched = sketch_of(jobs, form(values, seed=""), VISITOR)
    *_, end = runs.start(form(values, seed="", prompt="a toy boat"), VISITOR)
    assert sketched["said"] != f"seed {jobs.view(end['job']).settings['seed']}"
    assert len(screens(list(start(runs, values)))) > 0


@pytest.mark.parametrize("offered", [True, False])
def test_the_part_is_left_out_where_nothing_can_be_drawn_between_runs(offered) -> None:
    with gr.Blocks():
        assert build_instant(offered=offered).visible == offered
