from __future__ import annotations

import contextvars
import errno
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from gspn_core.errors import BadSetting, Busy, GspnError, NotOwner, OutOfMemory
from gspn_core.images.png_text import read_png
from gspn_core.runs import store as store_module
from gspn_core.runs.archive import Archive
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings

SETTINGS = Settings(prompt="a lake", seed=3)
WAIT_SECONDS = 90


@pytest.fixture
def open_jobs(tmp_path):
    """Return a function that opens RunQueue on an engine; they are closed at the end."""
    opened = []

    def open_one(engine, **options) -> RunQueue:
        opened.append(
            RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan, **{"view_seconds": 0.0, **options})
        )
        return opened[-1]

    yield open_one
    for jobs in opened:
        jobs.close()


class Gate:
    """Holds an engine before a given event until it is opened."""

    def __init__(self, at: int) -> None:
        self.at, self.reached, self._open = at, threading.Event(), threading.Event()

    def __call__(self, _settings: Settings, number: int) -> None:
        if number == self.at:
            self.reached.set()
            assert self._open.wait(WAIT_SECONDS)

    def wait(self) -> None:
        assert self.reached.wait(WAIT_SECONDS)

    def open(self) -> None:
        self._open.set()


def last(jobs: RunQueue, job_id: str):
    """Return the view with which following a run ends."""
    *_, view = jobs.follow(job_id)
    return view


def full_disk(*_arguments, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


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


def test_any_number_of_followers_see_the_end_and_one_that_leaves_disturbs_nobody(make_engine, open_jobs):
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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OutOfMemory("The 256×256 stage needs 9 GB."), "The 256×256 stage needs 9 GB."),
        (RuntimeError("secret path /etc"), "RuntimeError"),
        (MemoryError(), "MemoryError"),
        (SystemExit(3), "SystemExit"),
    ],
)
def test_a_run_that_breaks_is_failed_in_one_sentence_and_the_next_one_works(
    make_engine, open_jobs, error, said
):
    broken = []

    def breaks_once(_settings: Settings, number: int) -> None:
        if number == 9 and not broken:
            broken.append(True)
            raise error

    jobs = open_jobs(make_engine(before_event=breaks_once))
    view = last(jobs, jobs.submit(SETTINGS))
    assert view.state == "failed"
    assert said in view.error
    assert "secret" not in view.error
    assert "\n" not in view.error
    assert [stage.state for stage in view.stages] == ["done", "failed", "stopped"]
    assert Path(view.stages[0].png_path).is_file()
    assert last(jobs, jobs.submit(SETTINGS)).state == "done"


def test_a_run_that_ends_early_without_a_word_is_failed(make_engine, open_jobs):
    engine = make_engine()
    run = engine.run
    engine.run = lambda settings, stop: (
        event for event, _ in zip(run(settings, stop), range(4), strict=False)
    )
    view = last(jobs := open_jobs(engine), jobs.submit(SETTINGS))
    assert (view.state, "before its last stage" in view.error) == ("failed", True)


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
    with pytest.raises(Busy, match="2 runs wait already"):
        jobs.submit(SETTINGS)
    gate.open()
    assert [last(jobs, job_id).state for job_id in ids] == ["done"] * 3
    assert last(jobs, jobs.submit(SETTINGS)).state == "done"


@pytest.mark.parametrize("job_id", ["nobody", "../../etc/passwd", "x" * 22])
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


def test_a_run_sees_the_context_of_whoever_asked_for_it(make_engine, open_jobs):
    asked_by, seen = contextvars.ContextVar("asked_by", default="nobody"), []
    engine = make_engine(before_event=lambda _settings, number: number or seen.append(asked_by.get()))
    jobs = open_jobs(engine)
    asked_by.set("the first")
    first = jobs.submit(SETTINGS)
    asked_by.set("the second")
    last(jobs, jobs.submit(again(seed=4)))
    last(jobs, first)
    assert seen == ["the first", "the second"]


def test_a_full_disk_while_a_proxy_is_written_fails_the_run_and_keeps_its_stage(
    make_engine, open_jobs, monkeypatch
):
    monkeypatch.setattr(store_module, "write_proxy", full_disk)
    jobs = open_jobs(make_engine())
    view = last(jobs, jobs.submit(SETTINGS))
    assert view.state == "failed"
    assert view.error.startswith("The picture of 64×64 could not be written (No space left on device);")
    assert view.stages[0].state == "done"


def test_a_full_disk_while_the_last_png_is_written_fails_the_run_although_it_was_done(
    make_engine, open_jobs, monkeypatch
):
    write = store_module.write_png

    def fills_up(path, image, info):
        (full_disk if info["stage"] == 2 else write)(path, image, info)

    monkeypatch.setattr(store_module, "write_png", fills_up)
    jobs = open_jobs(make_engine())
    view = last(jobs, jobs.submit(SETTINGS))
    assert view.state == "failed"
    assert view.error.startswith("The picture of 256×256 could not be written (No space left on device);")
    assert [bool(stage.png_path) for stage in view.stages] == [True, True, False]
    assert [stage.state for stage in view.stages] == ["done"] * 3


def test_a_full_disk_while_an_early_png_is_written_ends_the_run_soon(make_engine, open_jobs, monkeypatch):
    failed = threading.Event()

    def fills_up(*_arguments):
        failed.set()
        full_disk()

    def wait_for_the_writer(_settings: Settings, number: int) -> None:
        if number == 9:
            assert failed.wait(WAIT_SECONDS)

    monkeypatch.setattr(store_module, "write_png", fills_up)
    view = last(jobs := open_jobs(make_engine(before_event=wait_for_the_writer)), jobs.submit(SETTINGS))
    assert view.state == "failed"
    assert "No space left on device" in view.error
    assert view.stages[0].state == "done"
    assert view.stages[2].state != "done"


@pytest.mark.parametrize("name", ["write_thumb", "write_tiles", "write_picture", "write_job", "write_about"])
def test_a_full_disk_at_any_file_ends_the_run_in_a_sentence_and_the_next_one_works(
    make_engine, open_jobs, monkeypatch, name
):
    jobs = open_jobs(make_engine())
    with monkeypatch.context() as full:
        full.setattr(store_module.Store, name, full_disk)
        view = last(jobs, jobs.submit(SETTINGS))
    assert view.state == "failed"
    assert "could not be written (No space left on device); free disk space" in view.error
    assert last(jobs, jobs.submit(again(seed=4))).state == "done"


def test_followers_are_let_go_even_if_the_last_record_breaks(make_engine, open_jobs, monkeypatch):
    gate = Gate(at=9)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()

    def breaks(*_arguments, **_options):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(Archive, "update", breaks)
    gate.open()
    assert last(jobs, job_id).is_final


def test_a_step_wakes_the_followers_of_its_own_run_alone(make_engine, open_jobs):
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


def test_a_folder_that_vanishes_fails_the_run_and_the_next_one_makes_it_anew(make_engine, open_jobs):
    gate = Gate(at=5)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    shutil.rmtree(jobs.folder)
    gate.open()
    view = last(jobs, job_id)
    assert view.state == "failed"
    assert "No such file or directory" in view.error
    assert last(jobs, jobs.submit(SETTINGS)).state == "done"


def test_a_folder_that_cannot_be_made_fails_the_run_before_it_costs_anything(make_engine, open_jobs):
    engine = make_engine()
    jobs = open_jobs(engine)
    jobs.folder.write_text("in the way")
    view = last(jobs, jobs.submit(SETTINGS))
    assert view.state == "failed"
    assert "could not be written" in view.error
    assert engine.ran == []


def test_runs_survive_a_restart_of_the_server(make_engine, open_jobs):
    jobs = open_jobs(make_engine())
    end = last(jobs, job_id := jobs.submit(SETTINGS))
    jobs.close()
    again = open_jobs(make_engine())
    assert list(again.follow(job_id)) == [end]
    again.follow(job_id).close()
    again.stop(job_id)


def test_the_oldest_runs_are_removed_beyond_the_quota(make_engine, open_jobs):
    jobs = open_jobs(make_engine(), keep_bytes=1)
    first = jobs.submit(SETTINGS)
    last(jobs, first)
    second = jobs.submit(SETTINGS)
    last(jobs, second)
    jobs.close()
    assert [path.name for path in jobs.folder.iterdir()] == [second]
    with pytest.raises(GspnError, match="There is no run"):
        jobs.view(first)


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


def again(**changes) -> Settings:
    return Settings(**{**SETTINGS.to_dict(), **changes})


def test_a_later_setting_that_changes_reuses_the_stages_before_it(open_jobs, make_engine):
    engine = make_engine()
    jobs = open_jobs(engine)
    first = last(jobs, jobs.submit(SETTINGS))
    second = last(jobs, jobs.submit(again(gaussian_sigma=2.0)))
    assert [stage.reused for stage in first.stages] == [False, False, False]
    assert [stage.reused for stage in second.stages] == [True, False, False]
    assert [len(pictures) for pictures in engine.finished] == [0, 1]
    assert all(stage.state == "done" and stage.png_path for stage in second.stages)
    assert second.stages[0].seconds is None
    pixels = [Image.open(view.stages[0].png_path).tobytes() for view in (first, second)]
    assert pixels[0] == pixels[1]


def test_a_higher_target_goes_on_from_the_last_picture(open_jobs, make_engine):
    engine = make_engine()
    jobs = open_jobs(engine)
    last(jobs, jobs.submit(again(target=128)))
    higher = last(jobs, jobs.submit(again(target=256)))
    assert [stage.reused for stage in higher.stages] == [True, True, False]


def test_the_same_run_again_needs_no_device(open_jobs, make_engine):
    engine = make_engine()
    jobs = open_jobs(engine)
    last(jobs, jobs.submit(SETTINGS))
    view = last(jobs, jobs.submit(SETTINGS))
    assert view.state == "done"
    assert all(stage.reused and stage.png_path and stage.proxy_path for stage in view.stages)
    assert len(engine.ran) == 1


def test_an_earlier_setting_that_changes_reuses_nothing(open_jobs, make_engine):
    engine = make_engine()
    jobs = open_jobs(engine)
    last(jobs, jobs.submit(SETTINGS))
    view = last(jobs, jobs.submit(again(seed=4)))
    assert not any(stage.reused for stage in view.stages)


def test_a_reused_picture_tells_the_settings_of_its_own_run(open_jobs, make_engine):
    jobs = open_jobs(make_engine())
    last(jobs, jobs.submit(SETTINGS))
    view = last(jobs, jobs.submit(again(gaussian_sigma=2.0)))
    text = read_png(Path(view.stages[0].png_path))["gspn_studio"]
    assert text["settings"]["gaussian_sigma"] == 2.0


def test_pictures_outlive_the_server_and_a_lost_file_is_made_again(open_jobs, make_engine):
    first = open_jobs(make_engine())
    view = last(first, first.submit(SETTINGS))
    first.close()
    Path(view.stages[1].png_path).unlink()
    engine = make_engine()
    jobs = open_jobs(engine)
    view = last(jobs, jobs.submit(again(cosine_scale_2=1.0)))
    assert [stage.reused for stage in view.stages] == [True, False, False]
    assert view.state == "done"


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


def test_what_will_be_reused_is_told_before_and_comes_true(open_jobs, make_engine):
    engine = make_engine()
    jobs = open_jobs(engine)
    first = last(jobs, first_id := jobs.submit(SETTINGS))
    asked = again(overrides="256.gaussian_sigma=2")
    answer = jobs.reusable(engine.plan(asked))
    assert [(reuse.stage, reuse.job_id) for reuse in answer] == [(0, first_id), (1, first_id)]
    assert [reuse.saved_seconds for reuse in answer] == [stage.seconds for stage in first.stages[:2]]
    view = last(jobs, jobs.submit(asked))
    assert [stage.reused for stage in view.stages] == [True, True, False]
    assert [stage.saved_seconds for stage in view.stages] == [*(r.saved_seconds for r in answer), None]
    assert [s.digest for s in view.stages[:2]] == [s.digest for s in first.stages[:2]]
    assert jobs.reusable(engine.plan(again(seed=99))) == ()


def test_what_a_reuse_of_a_reuse_saved_is_what_the_stage_once_took(open_jobs, make_engine):
    jobs = open_jobs(make_engine())
    first, *_, third = (last(jobs, jobs.submit(SETTINGS)) for _ in range(3))
    assert [stage.saved_seconds for stage in third.stages] == [stage.seconds for stage in first.stages]


def test_a_picture_that_is_no_longer_the_one_that_was_written_is_made_again(open_jobs, make_engine):
    jobs = open_jobs(make_engine())
    first = last(jobs, jobs.submit(SETTINGS))
    Image.new("RGB", (64, 64), "white").save(first.stages[0].png_path)
    second = last(jobs, jobs.submit(SETTINGS))
    assert not any(stage.reused for stage in second.stages)
    assert second.stages[0].digest == first.stages[0].digest


@pytest.mark.parametrize("how", ["stopped", "failed", "interrupted"])
def test_a_run_that_was_cut_short_is_taken_up_from_its_last_finished_stage(
    open_jobs, make_engine, how, tmp_path
):
    gate = Gate(at=9)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(Settings(prompt="a lake"))
    gate.wait()
    wait_for(lambda: _recorded(jobs, job_id)["stages"][0]["png_path"])
    if how == "interrupted":
        # What a server that was killed leaves behind.
        shutil.copytree(jobs.folder, tmp_path / "killed")
    elif how == "stopped":
        jobs.stop(job_id)
    else:
        jobs._jobs[job_id].write_error = "The disk is full."
    gate.open()
    last(jobs, job_id)
    engine = make_engine()
    if how == "interrupted":
        jobs = RunQueue(engine.run, tmp_path / "killed", plan=engine.plan)
    cut_short = jobs.view(job_id)
    assert cut_short.state == how
    resumed = last(jobs, jobs.resume(job_id))
    assert resumed.state == "done"
    assert [stage.reused for stage in resumed.stages] == [True, False, False]
    assert resumed.settings == cut_short.settings
    jobs.close()


def _recorded(jobs, job_id):
    """Return the run's view as it lies on the disk, which comes after the one in memory."""
    return json.loads((jobs.folder / job_id / "job.json").read_text())["view"]


def wait_for(fact, seconds: float = WAIT_SECONDS) -> None:
    moment = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if fact():
            return
        moment.wait(0.01)
    raise AssertionError("it did not come true")


def test_runs_that_waited_when_the_server_was_killed_can_be_resumed(open_jobs, make_engine, tmp_path):
    gate = Gate(at=1)
    jobs = open_jobs(make_engine(before_event=gate))
    jobs.submit(SETTINGS)
    gate.wait()
    waiting = jobs.submit(again(seed=4), visitor="anna")
    shutil.copytree(jobs.folder, tmp_path / "killed")
    gate.open()
    engine = make_engine()
    after = RunQueue(engine.run, tmp_path / "killed", plan=engine.plan)
    assert after.view(waiting).state == "interrupted"
    assert [run.id for run in after.history("anna")] == [waiting]
    assert last(after, after.resume(waiting, visitor="anna")).state == "done"
    assert len(after.history("anna")) == 2
    after.close()


def test_a_finished_run_goes_on_to_a_higher_target(open_jobs, make_engine):
    jobs = open_jobs(make_engine())
    low = last(jobs, low_id := jobs.submit(Settings(prompt="a lake", target=128)))
    high = last(jobs, jobs.extend(low_id, 256))
    assert [stage.reused for stage in high.stages] == [True, True, False]
    assert high.settings == {**low.settings, "target": 256}
    with pytest.raises(BadSetting, match="reaches a target of"):
        jobs.extend(low_id, 100)


def test_a_stage_is_done_again_with_other_settings_and_those_before_it_stay(open_jobs, make_engine):
    engine = make_engine()
    jobs = open_jobs(engine)
    made = last(jobs, made_id := jobs.submit(SETTINGS))
    view = last(jobs, jobs.redo(made_id, 2, again(upscale_strength=1.0, seed=9)))
    assert [stage.reused for stage in view.stages] == [True, True, False]
    assert view.stages[2].steps == 4 != made.stages[2].steps
    assert [stage.key for stage in view.stages[:2]] == [stage.key for stage in made.stages[:2]]
    with pytest.raises(BadSetting, match="the stages 1 to 3"):
        jobs.redo(made_id, 3, SETTINGS)


@pytest.mark.parametrize("after_stage", [False, True])
def test_a_guest_watches_a_run_and_cannot_stop_it(open_jobs, make_engine, after_stage):
    gate = Gate(at=3)
    jobs = open_jobs(make_engine(before_event=gate))
    running, waiting = (jobs.submit(again(seed=seed), visitor="anna") for seed in (3, 4))
    gate.wait()
    for job_id in (running, waiting):
        for guest in ("", "ben"):
            with pytest.raises(NotOwner, match="Only the browser that started this run can stop it"):
                jobs.stop(job_id, visitor=guest, after_stage=after_stage)
        assert next(jobs.follow(job_id)).stopping is None
    jobs.stop(waiting, visitor="anna", after_stage=after_stage)
    assert jobs.view(waiting).state == "stopped"
    gate.open()
    assert last(jobs, running).state == "done"
    # What has ended stays as it is, whoever asks.
    jobs.stop(running, visitor="ben")


def test_a_run_without_a_token_is_stopped_by_whoever_has_its_id(open_jobs, make_engine):
    gate = Gate(at=3)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    jobs.stop(job_id, visitor="ben")
    gate.open()
    assert last(jobs, job_id).state == "stopped"


def test_a_guest_makes_runs_of_the_own_from_what_is_seen(open_jobs, make_engine):
    jobs = open_jobs(make_engine())
    made = jobs.submit(again(target=128), visitor="anna")
    last(jobs, made)
    own = [
        jobs.resume(made, visitor="ben"),
        jobs.extend(made, 256, visitor="ben"),
        jobs.redo(made, 1, again(target=128, gaussian_sigma=2.0), visitor="ben"),
    ]
    assert [last(jobs, job_id).state for job_id in own] == ["done"] * 3
    assert {run.id for run in jobs.history("ben")} == set(own)
    assert [run.id for run in jobs.history("anna")] == [made]


def test_one_visitor_leaves_half_of_the_queue_to_others(open_jobs, make_engine):
    gate = Gate(at=1)
    jobs = open_jobs(make_engine(before_event=gate), max_queued=4)
    jobs.submit(SETTINGS)
    gate.wait()
    for seed in (4, 5):
        jobs.submit(again(seed=seed), visitor="anna")
    with pytest.raises(Busy, match="2 of your runs wait already, the most there may be; stop one"):
        jobs.submit(again(seed=6), visitor="anna")
    ids = [jobs.submit(again(seed=seed), visitor="ben") for seed in (7, 8)]
    with pytest.raises(Busy, match="4 runs wait already"):
        jobs.submit(again(seed=9), visitor="cleo")
    gate.open()
    assert last(jobs, ids[-1]).state == "done"
    last(jobs, jobs.submit(again(seed=6), visitor="anna"))


def test_a_visitor_lists_notes_and_removes_the_own_runs(open_jobs, make_engine):
    jobs = open_jobs(make_engine())
    job_id = jobs.submit(SETTINGS, visitor="anna")
    last(jobs, job_id)
    assert jobs.history("ben") == jobs.history("") == ()
    jobs.annotate(job_id, "anna", favourite=True, note="good")
    (run,) = jobs.history("anna")
    assert (run.id, run.state, run.favourite, run.note) == (job_id, "done", True, "good")
    assert Path(run.thumb_path).is_file()
    own, everything, quota = jobs.usage("anna")
    assert 0 < own == everything < quota
    with pytest.raises(GspnError, match="Only the browser"):
        jobs.delete(job_id, "ben")
    jobs.delete(job_id, "anna")
    assert jobs.history("anna") == ()
    with pytest.raises(GspnError, match="There is no run"):
        jobs.view(job_id)
    assert not any(stage.reused for stage in last(jobs, jobs.submit(SETTINGS)).stages)


def test_a_run_that_goes_on_is_not_removed_and_keeps_its_note(open_jobs, make_engine):
    gate = Gate(at=3)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS, visitor="anna")
    waiting = jobs.submit(again(seed=4), visitor="anna")
    gate.wait()
    for live in (job_id, waiting):
        with pytest.raises(GspnError, match="still going; stop it first"):
            jobs.delete(live, "anna")
    jobs.annotate(waiting, "anna", note="noted while it waited")
    assert [run.state for run in jobs.history("anna")] == ["queued", "running"]
    gate.open()
    last(jobs, waiting)
    assert jobs.history("anna")[0].note == "noted while it waited"


def test_the_quota_never_takes_a_favourite(open_jobs, make_engine):
    before = open_jobs(make_engine())
    first = before.submit(SETTINGS, visitor="anna")
    last(before, first)
    before.close()
    jobs = open_jobs(make_engine(), keep_bytes=int(4.5 * before.usage("anna")[0]))
    jobs.annotate(first, "anna", favourite=True)
    ids = [jobs.submit(again(seed=seed)) for seed in range(10, 16)]
    for job_id in ids:
        last(jobs, job_id)
    jobs.close()
    kept = {path.name for path in jobs.folder.iterdir() if path.is_dir()}
    assert first in kept and ids[-1] in kept and ids[0] not in kept and len(kept) in (4, 5)


def test_favourites_of_one_visitor_leave_room_for_the_runs_of_others(open_jobs, make_engine):
    before = open_jobs(make_engine())
    starred = [before.submit(again(seed=seed), visitor="anna") for seed in range(6)]
    for job_id in starred:
        last(before, job_id)
    before.close()
    size = before.usage("anna")[0] // 6
    jobs = open_jobs(make_engine(), keep_bytes=8 * size + size // 2)
    said = []
    for job_id in starred:
        try:
            jobs.annotate(job_id, "anna", favourite=True)
        except GspnError as refusal:
            said.append(str(refusal))
    assert len(said) == 4 and all("take another one off the favourites first" in text for text in said)
    others = [jobs.submit(again(seed=seed), visitor="ben") for seed in range(10, 15)]
    for job_id in others:
        last(jobs, job_id)
    assert {run.id for run in jobs.history("ben")} == set(others)


def test_a_follower_is_told_at_most_so_often_and_the_end_at_once(open_jobs, make_engine):
    jobs = open_jobs(make_engine(), view_seconds=30.0)
    views = list(jobs.follow(jobs.submit(SETTINGS)))
    # The first, the end, and what the writer still brings after it: tiles and PNG of up to three stages.
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
