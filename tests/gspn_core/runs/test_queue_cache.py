"""Cached stages, and runs that are resumed, extended or partly redone."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from PIL import Image

from gspn_core.errors import BadSetting
from gspn_core.images.png_text import read_png
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from tests.gspn_core.conftest import WAIT_SECONDS, Gate
from tests.gspn_core.runs.conftest import SETTINGS, again, last


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


def test_a_reused_picture_has_the_settings_of_its_own_run(open_jobs, make_engine):
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


def test_predicted_cache_hits_come_true(open_jobs, make_engine):
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


def test_a_reuse_of_a_reuse_saves_the_time_of_the_original_stage(open_jobs, make_engine):
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
    """Return the run's view on disk, which is written after the one in memory changes."""
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
