from __future__ import annotations

import inspect
import json
import typing

import gradio as gr
import pytest
from PIL import Image

from gspn_core.planning.plan import make_plan
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import FileWritten
from gspn_core.settings import FIELD_NAMES, Settings
from gspn_core.studies.runner import Studies
from ui.api import NAMES, fetch_function, follow_function, picture_function, run_function, state_of
from ui.page import build_page


@pytest.fixture
def jobs(events_of, card, tmp_path):
    def run(plan, _should_stop, **_options):
        yield from events_of(plan.settings)

    jobs = RunQueue(run, tmp_path / "jobs", plan=lambda settings: make_plan(settings, card), view_seconds=0.0)
    yield jobs
    jobs.close()


def test_only_the_four_functions_are_published_under_their_names(jobs, card):
    page = build_page(jobs, card, studies=Studies(jobs), weights=lambda _: None, machine=lambda: None)
    answer = page.get_api_info()
    assert list(answer["named_endpoints"]) == [f"/{name}" for name in NAMES]
    assert answer["unnamed_endpoints"] == {}


def test_every_setting_is_a_parameter_with_its_own_default(jobs):
    parameters = inspect.signature(run_function(jobs)).parameters
    assert tuple(parameters) == FIELD_NAMES
    values = {name: parameter.default for name, parameter in parameters.items() if name != "prompt"}
    assert Settings(prompt="a", **values) == Settings(prompt="a")
    hints = typing.get_type_hints(run_function(jobs))
    assert hints["seed"] == typing.Optional[int] and hints["gaussian_sigma"] is float  # noqa: UP045


def test_a_picture_is_kept_and_a_run_starts_from_it(jobs, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "photo.png")
    sent = {"path": str(tmp_path / "photo.png"), "orig_name": "photo.png"}
    reference = picture_function(jobs)(sent)
    settings = Settings(prompt="a toy", target=128, start=reference)
    run_id = run_function(jobs)(*{**settings.to_dict(), "overrides": ""}.values())
    *_, last = follow_function(jobs)(run_id)
    assert last["state"] == "done" and jobs.view(run_id).settings["start"] == reference
    with pytest.raises(gr.Error, match=r"photo\.png did not arrive whole"):
        picture_function(jobs)(sent)


def test_a_run_is_queued_followed_and_fetched(jobs):
    values = {**Settings(prompt="a toy", seed=3, target=64).to_dict(), "overrides": ""}
    run_id = run_function(jobs)(*values.values())
    *_, last = follow_function(jobs)(run_id)
    assert (last["state"], last["seed"], last["stages"][0]["can_be_fetched"]) == ("done", 3, True)
    json.dumps(last)
    for stage in (0, 1):
        answer = fetch_function(jobs)(run_id, stage)
        assert answer["path"].startswith(str(jobs.folder)) and answer["path"].endswith(".png")
        assert answer["meta"] == {"_type": "gradio.FileData"}


@pytest.mark.parametrize("values", [("",), ("a toy", "", 100), ("a toy", "", 64, "9:1"), (3,)])
def test_a_run_that_cannot_be_is_refused_in_a_sentence(jobs, values):
    with pytest.raises(gr.Error) as refusal:
        run_function(jobs)(*values)
    assert str(refusal.value.message).endswith(".")


@pytest.mark.parametrize("run_id", ["stranger", "../../etc/passwd", "x" * 22])
def test_what_is_not_there_is_refused_in_a_sentence(jobs, run_id):
    with pytest.raises(gr.Error, match="There is no run"):
        fetch_function(jobs)(run_id)
    with pytest.raises(gr.Error, match="There is no run"):
        list(follow_function(jobs)(run_id))


def test_a_stage_without_a_picture_is_refused(jobs):
    run_id = run_function(jobs)("a toy", "", 64)
    list(follow_function(jobs)(run_id))
    with pytest.raises(gr.Error, match="Stage 2 of this run has no finished picture"):
        fetch_function(jobs)(run_id, 2)


def test_the_state_of_a_run_tells_where_it_is(view_after):
    view = view_after(4)
    answer = state_of(view)
    assert (answer["state"], answer["stage"], answer["step"]) == ("running", 1, 2)
    assert answer["stages"][0]["can_be_fetched"] is False
    view = apply_event(view, FileWritten(stage=0, kind="png", path="/jobs/a.png"))
    assert state_of(view)["stages"][0]["can_be_fetched"] is True
