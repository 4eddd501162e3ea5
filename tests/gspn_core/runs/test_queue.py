"""Running, following, stopping and restarting runs of a queue."""

from __future__ import annotations

import contextvars
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gspn_core.errors import BadSetting, Busy, GspnError
from gspn_core.images.png_text import read_png
from gspn_core.settings import Settings
from tests.gspn_core.conftest import WAIT_SECONDS, Gate
from tests.gspn_core.runs.conftest import SETTINGS, again, last


def test_a_run_ends_done_with_every_picture_on_disk(make_engine, open_jobs):
    jobs = open_jobs(make_engine())
    job_id = jobs.submit(SETTINGS)
    view = last(jobs, job_id)
    assert view.state == "done"
    for stage in view.stages:
        assert Path(stage.proxy_path).is_file()
        assert (Path(stage.tiles_path) / "0" / "0_0.jpg").is_file()
        info = read_png(Path(stage.png_path))["gspn_studio"]
        assert (info["seed"], info["stage"]) == (3, stage.index)
    assert json.loads((jobs.folder / job_id / "job.json").read_text())["view"]["state"] == "done"
    assert len(job_id) >= 22


def test_two_runs_of_the_same_settings_write_the_same_png_bytes(make_engine, open_jobs):
    jobs = open_jobs(make_engine())
    first, second = (last(jobs, jobs.submit(SETTINGS)) for _ in range(2))
    for one, other in zip(first.stages, second.stages, strict=True):
        assert one.png_path != other.png_path
        assert Path(one.png_path).read_bytes() == Path(other.png_path).read_bytes()


def test_following_starts_with_the_present_and_shows_only_newer_views(make_engine, open_jobs):
    gate = Gate(at=3)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    views = jobs.follow(job_id)
    present = next(views)
    assert (present.state, present.stages[0].step) == ("running", 1)
    gate.open()
    versions = [view.version for view in views]
    assert versions == sorted(set(versions))
    assert versions[0] > present.version


def test_any_number_of_followers_see_the_end_and_one_that_leaves_disturbs_no_other(make_engine, open_jobs):
    gate = Gate(at=2)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    leaving = jobs.follow(job_id)
    next(leaving)
    leaving.close()
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(last(jobs, job_id))) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert len(ends) == 8
    assert {end.state for end in ends} == {"done"}
    assert all(stage.png_path for end in ends for stage in end.stages)


def test_a_finished_run_can_be_followed_again(make_engine, open_jobs):
    jobs = open_jobs(make_engine())
    job_id = jobs.submit(SETTINGS)
    end = last(jobs, job_id)
    assert list(jobs.follow(job_id)) == [end]
    assert jobs.view(job_id) == end


def test_runs_come_in_the_order_in_which_they_were_asked_for(make_engine, open_jobs):
    gate = Gate(at=1)
    engine = make_engine(before_event=gate)
    jobs = open_jobs(engine)
    ids = [jobs.submit(Settings(prompt=f"lake {number}", seed=1)) for number in range(4)]
    gate.wait()
    assert [jobs.view(job_id).queue_position for job_id in ids] == [0, 1, 2, 3]
    assert [jobs.view(job_id).state for job_id in ids] == ["running", "queued", "queued", "queued"]
    gate.open()
    assert [last(jobs, job_id).state for job_id in ids] == ["done"] * 4
    assert [settings.prompt for settings in engine.ran] == [f"lake {number}" for number in range(4)]


def test_a_queued_run_stops_at_once_and_those_behind_it_move_up(make_engine, open_jobs):
    gate = Gate(at=1)
    engine = make_engine(before_event=gate)
    jobs = open_jobs(engine)
    running, waiting, behind = (jobs.submit(again(seed=seed)) for seed in range(3))
    gate.wait()
    jobs.stop(waiting)
    assert last(jobs, waiting).state == "stopped"
    assert jobs.view(behind).queue_position == 1
    gate.open()
    assert last(jobs, running).state == last(jobs, behind).state == "done"
    assert len(engine.ran) == 2


def test_a_running_run_stops_before_its_next_event_and_keeps_what_is_finished(make_engine, open_jobs):
    gate = Gate(at=9)
    engine = make_engine(before_event=gate)
    jobs = open_jobs(engine)
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    jobs.stop(job_id)
    assert jobs.view(job_id).stopping
    gate.open()
    view = last(jobs, job_id)
    assert view.state == "stopped"
    assert engine.stopped_after == [9]
    assert [stage.state for stage in view.stages] == ["done", "stopped", "stopped"]
    assert Path(view.stages[0].png_path).is_file()
    assert last(jobs, jobs.submit(SETTINGS)).state == "done"


def test_stopping_an_ended_run_changes_nothing(make_engine, open_jobs):
    jobs = open_jobs(make_engine())
    job_id = jobs.submit(SETTINGS)
    end = last(jobs, job_id)
    jobs.stop(job_id)
    assert jobs.view(job_id) == end


def test_a_bad_setting_is_refused_before_it_queues(make_engine, open_jobs):
    jobs = open_jobs(make_engine())
    with pytest.raises(BadSetting) as caught:
        jobs.submit(Settings(prompt="a lake", target=250))
    assert caught.value.field == "target"
    assert not jobs.folder.exists()


def test_a_full_queue_is_refused_and_takes_runs_again_later(make_engine, open_jobs):
    gate = Gate(at=1)
    jobs = open_jobs(make_engine(before_event=gate), max_queued=2)
    ids = [jobs.submit(SETTINGS)]
    gate.wait()
    ids += [jobs.submit(SETTINGS) for _ in range(2)]
    with pytest.raises(Busy, match="full with 2 waiting runs"):
        jobs.submit(SETTINGS)
    gate.open()
    assert [last(jobs, job_id).state for job_id in ids] == ["done"] * 3
    assert last(jobs, jobs.submit(SETTINGS)).state == "done"


@pytest.mark.parametrize("job_id", ["unknown", "../../etc/passwd", "x" * 22])
def test_an_unknown_run_is_refused_at_once(make_engine, open_jobs, job_id):
    jobs = open_jobs(make_engine())
    for method in (jobs.view, jobs.follow, jobs.stop):
        with pytest.raises(GspnError, match="There is no run"):
            method(job_id)


def test_the_seed_that_was_shown_while_queueing_is_the_seed_that_runs(make_engine, open_jobs):
    gate = Gate(at=0)
    engine = make_engine(before_event=gate)
    jobs = open_jobs(engine)
    job_id = jobs.submit(Settings(prompt="a lake"))
    shown = jobs.view(job_id).settings
    gate.open()
    assert last(jobs, job_id).settings == shown == engine.ran[0].to_dict()
    assert shown["seed"] is not None


def test_a_run_has_the_context_of_its_submission(make_engine, open_jobs):
    asked_by, seen = contextvars.ContextVar("asked_by", default="no one"), []
    engine = make_engine(before_event=lambda _settings, number: number or seen.append(asked_by.get()))
    jobs = open_jobs(engine)
    asked_by.set("the first")
    first = jobs.submit(SETTINGS)
    asked_by.set("the second")
    last(jobs, jobs.submit(again(seed=4)))
    last(jobs, first)
    assert seen == ["the first", "the second"]


def test_a_step_wakes_only_the_followers_of_its_run(make_engine, open_jobs):
    gate = Gate(at=3)
    jobs = open_jobs(make_engine(before_event=gate), max_queued=60)
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    waiting = [jobs.submit(again(seed=seed)) for seed in range(50)]
    followed = [iter(jobs.follow(other)) for other in waiting]
    assert [next(views).queue_position for views in followed] == list(range(1, 51))
    answer = [jobs.view(other).version for other in waiting]
    jobs._jobs[waiting[0]].changed.notify_all = lambda: pytest.fail("it was woken")
    jobs.stop(job_id, after_stage=True)
    assert jobs.view(job_id).stopping == "after_stage"
    assert [jobs.view(other).version for other in waiting] == answer
    del jobs._jobs[waiting[0]].changed.notify_all
    for other in waiting:
        jobs.stop(other)
    gate.open()
    assert last(jobs, job_id).state == "stopped"
    assert {last(jobs, other).state for other in waiting} == {"stopped"}


def test_runs_survive_a_restart_of_the_server(make_engine, open_jobs):
    jobs = open_jobs(make_engine())
    end = last(jobs, job_id := jobs.submit(SETTINGS))
    jobs.close()
    again = open_jobs(make_engine())
    assert list(again.follow(job_id)) == [end]
    again.follow(job_id).close()
    again.stop(job_id)


def test_a_second_run_knows_its_time_left_before_its_first_step(make_engine, open_jobs):
    gate = Gate(at=1)
    engine = make_engine()
    jobs = open_jobs(engine)
    last(jobs, jobs.submit(SETTINGS))
    engine.before_event = gate
    job_id = jobs.submit(again(seed=4))
    gate.wait()
    assert jobs.view(job_id).left_seconds > 0
    gate.open()
    last(jobs, job_id)


def test_closing_stops_everything_and_takes_nothing_more(make_engine, open_jobs):
    gate = Gate(at=4)
    jobs = open_jobs(make_engine(before_event=gate))
    running, waiting = jobs.submit(SETTINGS), jobs.submit(SETTINGS)
    gate.wait()
    closing = threading.Thread(target=jobs.close)
    closing.start()
    assert last(jobs, waiting).state == "stopped"
    gate.open()
    closing.join(WAIT_SECONDS)
    assert not closing.is_alive()
    assert jobs.view(running).state == "stopped"
    with pytest.raises(Busy, match="closing"):
        jobs.submit(SETTINGS)


def test_a_stop_after_the_stage_keeps_the_stage_that_was_running(make_engine, open_jobs):
    gate = Gate(at=9)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    jobs.stop(job_id, after_stage=True)
    assert jobs.view(job_id).stopping == "after_stage"
    gate.open()
    view = last(jobs, job_id)
    assert (view.state, view.error) == ("stopped", None)
    assert [stage.state for stage in view.stages] == ["done", "done", "stopped"]
    assert view.stages[1].png_path


def test_a_stop_after_the_last_stage_is_the_end(make_engine, open_jobs):
    gate = Gate(at=16)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    assert jobs.view(job_id).stage == 2
    jobs.stop(job_id, after_stage=True)
    gate.open()
    assert last(jobs, job_id).state == "done"


def test_a_stop_now_overrules_a_stop_after_the_stage(make_engine, open_jobs):
    gate = Gate(at=9)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    jobs.stop(job_id, after_stage=True)
    jobs.stop(job_id)
    assert jobs.view(job_id).stopping == "now"
    gate.open()
    assert [stage.state for stage in last(jobs, job_id).stages] == ["done", "stopped", "stopped"]


def test_a_follower_gets_views_at_a_limited_rate_and_the_end_at_once(open_jobs, make_engine):
    jobs = open_jobs(make_engine(), view_seconds=30.0)
    views = list(jobs.follow(jobs.submit(SETTINGS)))
    # The first, the end, and the writer's updates after it: tiles and PNG of up to three stages.
    assert len(views) <= 2 + 2 * 3 < views[-1].version / 3
    assert views[-1].state == "done" and views[-1].stages[-1].png_path


def test_who_leaves_a_run_counts_no_longer_among_its_followers(open_jobs, make_engine):
    gate = Gate(at=3)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    live = jobs._jobs[job_id]
    following = [jobs.follow(job_id) for _ in range(20)]
    assert all(next(views).id == job_id for views in following)
    assert live.followers == 20
    for views in following[1:]:
        views.close()
    assert live.followers == 1
    gate.open()
    assert list(following[0])[-1].state == "done"
    assert live.followers == 0


def test_a_folder_belongs_to_one_server(open_jobs, make_engine):
    first = open_jobs(make_engine())
    first.claim()
    code = (
        "import sys\nfrom gspn_core.errors import GspnError\nfrom gspn_core.files import FolderClaim\n"
        "from pathlib import Path\n"
        "try:\n    FolderClaim(Path(sys.argv[1])).take()\nexcept GspnError as error:\n    print(error)"
    )
    ask = [sys.executable, "-c", code, str(first.folder)]
    answer = subprocess.run(ask, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True)
    assert "is in use by another server" in answer.stdout
    first.close()
    answer = subprocess.run(ask, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True)
    assert answer.stdout == ""
