"""Runs that fail: errors of the engine, a full disk, folders that are gone."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path

import pytest

from gspn_core.errors import OutOfMemory
from gspn_core.runs import store as store_module
from gspn_core.runs.archive import Archive
from gspn_core.settings import Settings
from tests.gspn_core.conftest import WAIT_SECONDS, Gate
from tests.gspn_core.runs.conftest import SETTINGS, again, last


def full_disk(*_arguments, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


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


def test_a_folder_that_vanishes_fails_the_run_and_the_next_one_creates_it_again(make_engine, open_jobs):
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
