"""What the handlers of the studio show of runs: started, followed, stopped and continued."""

import json
from dataclasses import replace

import pytest

from gspn_core.errors import OutOfMemory
from gspn_core.settings import FIELD_NAMES
from tests.ui.studio.conftest import screens, start
from ui.shared.strings import page_strings, studio_strings
from ui.studio.handlers import Runs
from ui.studio.props import buttons, buttons_of, notice


def test_a_run_brings_its_stages_one_after_another_and_ends_with_the_downloads(runs, values) -> None:
    patches = list(start(runs, values))
    seen = screens(patches)
    assert seen[-1]["state"] == "done"
    assert [card["state"] for card in seen[-1]["stages"]] == ["done", "done"]
    assert all(card["png"] for card in seen[-1]["stages"])


def test_a_stage_is_shown_while_the_next_one_runs(runs, values, engine) -> None:
    engine.go.clear()
    patches = start(runs, values)
    seen = [next(patches)]
    engine.go.set()
    seen += list(patches)
    states = [[card["state"] for card in screen["stages"]] for screen in screens(seen)]
    assert states[0][1] == "waiting"
    assert states[-1] == ["done", "done"]


def test_everything_that_the_screen_gets_is_json(runs, values) -> None:
    for patch in start(runs, values):
        json.dumps({name: value for name, value in patch.items() if name in ("screen", "notice", "job")})


def test_the_job_is_named_before_anything_of_it_is_shown(runs, jobs, values) -> None:
    first = next(start(runs, values))
    assert jobs.view(first["job"]).id == first["job"]
    assert "screen" not in first


def test_run_is_off_and_stop_is_on_while_a_run_goes_on() -> None:
    for state in ("queued", "running"):
        assert buttons(state)["run"]["interactive"] is False
        assert buttons(state)["stop"]["interactive"] is True
    assert buttons("running", stopping="now")["stop"]["interactive"] is False
    for state in ("done", "stopped", "failed"):
        assert buttons(state)["run"]["interactive"] is True
        assert buttons(state)["stop"]["interactive"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [("prompt", " "), ("gaussian_sigma", 9), ("aspect", "1:9"), ("target", 100), ("seed", "x")],
)
def test_a_refused_setting_is_said_next_to_the_form_and_nothing_is_queued(runs, values, name, value) -> None:
    (patch,) = start(runs, {**values, name: value})
    assert patch["notice"]["tone"] == "error"
    assert patch["notice"]["field"] == name
    assert patch["notice"]["text"].endswith(".")
    assert "screen" not in patch and "job" not in patch


def test_a_full_queue_is_said_in_its_sentence(runs, values, engine) -> None:
    engine.go.clear()
    running = start(runs, values)
    next(running)
    while next(running)["screen"]["state"] != "running":
        pass
    waiting = start(runs, values)
    next(waiting)
    (patch,) = start(runs, values)
    assert "The queue is full" in patch["notice"]["text"]
    assert patch["notice"]["tone"] == "error"


def test_a_second_run_is_shown_its_place(runs, values, engine) -> None:
    engine.go.clear()
    first, second = start(runs, values), start(runs, values)
    next(first)
    while next(first)["screen"]["state"] != "running":
        pass
    next(second)
    screen = next(second)["screen"]
    assert screen["state"] == "queued"
    assert screen["panel"]["detail"] == studio_strings.queue_place(1)


def test_a_stop_ends_the_run_and_keeps_what_was_done(runs, values, engine) -> None:
    patches = start(runs, values)
    first = next(patches)
    job, visitor = first["job"], first["visitor"]
    for patch in patches:
        screen = patch.get("screen")
        if screen and screen["stages"][0]["state"] == "done":
            engine.go.clear()
            runs.stop(job, visitor)
            engine.go.set()
            break
    last = screens(list(patches))[-1]
    assert last["state"] == "stopped"
    assert last["stages"][0]["state"] == "done"


@pytest.mark.parametrize("after_stage", [False, True])
def test_a_guest_who_has_the_link_cannot_stop_the_run(runs, jobs, values, engine, after_stage) -> None:
    engine.go.clear()
    patches = start(runs, values)
    first = next(patches)
    job, visitor = first["job"], first["visitor"]
    for guest in (None, "a guest's token"):
        patch = runs.stop(job, guest, after_stage=after_stage)
        assert patch["notice"] == notice("Only the browser that started this run can stop it.", tone="error")
        assert "run" not in patch, "the buttons stay those of a run that goes on"
    assert jobs.view(job).stopping is None
    # Who watches may draw one of their own meanwhile.
    watched = runs.look(job, "a guest's token")
    assert watched["notice"]["text"] == studio_strings.WATCHING
    assert watched["run"]["interactive"] and not watched["stop"]["interactive"]
    own = runs.look(job, visitor)
    assert own["notice"]["text"] == "" and own["stop"]["interactive"]
    engine.go.set()
    assert screens(list(patches))[-1]["state"] == "done"
    assert runs.look(job, "a guest's token")["notice"]["text"] == ""


def test_an_error_of_the_run_is_said_in_its_sentence(runs, values, engine) -> None:
    engine.end = OutOfMemory("memory ran out at 128 px; try 64.")
    patches = list(start(runs, values))
    assert screens(patches)[-1]["state"] == "failed"
    said = [patch["notice"] for patch in patches if "notice" in patch][-1]
    assert said == notice("memory ran out at 128 px; try 64.", tone="error")


def test_a_run_is_brought_back_with_its_settings_and_its_pictures(runs, values) -> None:
    job = list(start(runs, {**values, "gaussian_sigma": 1.5}))[0]["job"]
    patches = list(runs.restore(job, None))
    assert {"job": job, "gaussian_sigma": 1.5}.items() <= patches[1].items()
    screen = screens(patches)[-1]
    assert screen["restored"] is True
    assert [card["state"] for card in screen["stages"]] == ["done", "done"]


def test_the_address_counts_before_what_the_browser_remembers(runs, values) -> None:
    first, second = (list(start(runs, values))[0]["job"] for _ in range(2))
    assert list(runs.restore(first, second))[1]["job"] == first
    assert list(runs.restore(None, second))[1]["job"] == second


@pytest.mark.parametrize("unknown", ["no-such-job-of-ours-here", "../../etc/passwd", "<script>", "x" * 9999])
def test_an_address_of_no_run_gives_an_empty_page_and_says_so(runs, unknown) -> None:
    patches = list(runs.restore(unknown, None))
    assert screens(patches)[-1]["state"] == "empty"
    assert patches[-1]["notice"]["text"] == studio_strings.LOST_RUN
    assert patches[-1]["job"] is None


def test_a_forgotten_run_that_no_one_asked_for_is_let_go_in_silence(runs) -> None:
    assert list(runs.restore(None, "no-such-job-of-ours-here"))[-1]["notice"]["text"] == ""


def test_nothing_to_bring_back_changes_nothing(runs) -> None:
    assert list(runs.restore(None, None, "a visitor")) == [{"masthead": runs.masthead()}]


def test_following_or_stopping_no_run_is_said_calmly(runs) -> None:
    assert list(runs.follow(None))[-1]["notice"]["text"] == studio_strings.LOST_RUN
    assert runs.stop(None, None)["notice"]["text"] == studio_strings.LOST_RUN


def test_a_run_of_a_new_browser_brings_its_token_and_belongs_to_it(runs, jobs, values) -> None:
    first = list(start(runs, values))[0]
    assert [run.id for run in jobs.history(first["visitor"])] == [first["job"]]
    second = list(runs.start([values[name] for name in FIELD_NAMES], first["visitor"]))[0]
    assert "visitor" not in second
    assert [run.id for run in jobs.history(first["visitor"])] == [second["job"], first["job"]]
    assert jobs.history("another") == ()


def test_a_browser_gets_its_token_when_the_page_is_opened_and_only_then(runs) -> None:
    tokens = {list(runs.restore(None, None))[0]["visitor"] for _ in range(3)}
    assert len(tokens) == 3 and all(len(token) >= 32 for token in tokens)


def test_an_opened_run_is_shown_with_its_settings_and_asks_to_be_followed_while_it_goes_on(
    runs, values, engine
) -> None:
    done = list(start(runs, {**values, "gaussian_sigma": 1.5}))[0]["job"]
    patch = runs.open(done)
    assert (patch["job"], patch["gaussian_sigma"], patch["screen"]["follow"]) == (done, 1.5, False)
    engine.go.clear()
    live = next(start(runs, {**values, "seed": "8"}))["job"]
    assert runs.open(live)["screen"]["follow"] is True
    assert runs.open("no-such-job-of-ours-here") == {"notice": runs.stop(None, None)["notice"]}


def test_a_run_goes_on_to_a_higher_target_from_the_stages_that_it_has(runs, jobs, values) -> None:
    made = list(start(runs, values))[0]["job"]
    patch = runs.extend(made, 256, "mine")
    assert patch["target"] == 256
    screen = screens(list(runs.follow(patch["job"])))[-1]
    assert [card["state"] for card in screen["stages"]] == ["done"] * 3
    assert [stage.reused for stage in jobs.view(patch["job"]).stages] == [True, True, False]
    assert screen["stages"][1]["lines"] == studio_strings.reused(1.0) == ["cached", "saved 1.0 s"]
    assert [run.id for run in jobs.history("mine")] == [patch["job"]]


def test_a_target_out_of_reach_is_refused_in_its_sentence(runs, values) -> None:
    made = list(start(runs, values))[0]["job"]
    for target in (4096, -1, "x", True):
        refused = runs.extend(made, target, "mine")
        assert "job" not in refused
        assert refused["notice"]["tone"] == "error"


def test_a_stage_is_redone_as_the_form_asks_and_the_stages_before_it_stay(runs, jobs, values) -> None:
    made = list(start(runs, values))[0]["job"]
    form = [
        {**values, "gaussian_sigma": 2.0, "prompt": "a toy boat", "seed": ""}[name] for name in FIELD_NAMES
    ]
    patch = runs.redo(made, 1, form, "mine")
    list(runs.follow(patch["job"]))
    first, second = jobs.view(patch["job"]).stages
    assert first.reused and first.key == jobs.view(made).stages[0].key
    assert not second.reused and second.key != jobs.view(made).stages[1].key
    assert "prompt" not in patch, "the form stays as it is"
    assert runs.redo(made, 7, form, "mine")["notice"]["tone"] == "error"


def test_a_stopped_run_is_taken_up_again_with_its_own_seed(runs, jobs, values, engine) -> None:
    patches = start(runs, {**values, "seed": ""})
    first = next(patches)
    made = first["job"]
    for patch in patches:
        if "screen" in patch and patch["screen"]["stages"][0]["state"] == "done":
            engine.go.clear()
            runs.stop(made, first["visitor"])
            engine.go.set()
    again = runs.resume(made, "mine")
    assert screens(list(runs.follow(again["job"])))[-1]["state"] == "done"
    assert jobs.view(again["job"]).settings == jobs.view(made).settings


def test_a_stop_after_the_stage_is_offered_while_others_follow(view_after) -> None:
    first, last = view_after(2), view_after(8)
    assert (first.stage, last.stage) == (0, 1)
    assert buttons_of(first)["stop_after_stage"]["visible"] is True
    assert buttons_of(last)["stop_after_stage"]["visible"] is False
    assert buttons_of(replace(first, stopping="now"))["stop_after_stage"]["visible"] is False
    asked = buttons_of(replace(first, stopping="after_stage"))
    assert asked["stop_after_stage"]["value"] == studio_strings.STOPPING_AFTER_STAGE
    assert asked["stop"]["interactive"] is True, "it may still be stopped at once"


def test_a_stop_after_the_stage_keeps_that_stage(runs, values, engine) -> None:
    engine.go.clear()
    patches = start(runs, values)
    first = next(patches)
    while next(patches)["screen"]["state"] != "running":
        pass
    runs.stop(first["job"], first["visitor"], after_stage=True)
    engine.go.set()
    last = screens(list(patches))[-1]
    assert [card["state"] for card in last["stages"]] == ["done", "stopped"]


def test_the_last_seed_can_be_used_again(runs, values) -> None:
    job = list(start(runs, {**values, "seed": ""}))[0]["job"]
    seed = runs.reuse_seed(job)["seed"]
    again = screens(list(start(runs, {**values, "seed": seed})))[-1]
    assert dict(again["panel"]["rows"])["Seed"] == seed
    assert runs.reuse_seed(None)["notice"]["text"] == studio_strings.NO_SEED_YET


def test_the_top_says_that_the_model_is_being_read(jobs, card) -> None:
    reading = Runs(jobs, card, machine=lambda: None).masthead()
    assert (reading["machine"], reading["status"]) == ("", page_strings.LOADING_MODEL)
    ready = Runs(jobs, card, machine=lambda: "CPU").masthead()
    assert (ready["machine"], ready["status"]) == ("CPU", "")
