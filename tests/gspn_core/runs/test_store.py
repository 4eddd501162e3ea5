from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gspn_core.errors import GspnError
from gspn_core.events import StageDone
from gspn_core.images.png_text import read_png
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import FileWritten, RunView
from gspn_core.runs.store import Store

ID = "aB3_-aB3_-aB3_-aB3_-aB"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "jobs")


@pytest.fixture
def view(events):
    view = RunView(id=ID, created=5.0)
    for event in events:
        view = apply_event(view, event)
    return view


def stage_done(events) -> StageDone:
    return next(event for event in events if isinstance(event, StageDone))


@pytest.mark.parametrize(
    "job_id",
    ["", "short", "../" * 8, "a" * 65, "a" * 15 + "/", "a" * 16 + "\n", "a" * 20 + ".", "ä" * 20, None],
)
def test_an_id_that_could_lead_elsewhere_is_refused(store, job_id):
    with pytest.raises(GspnError, match="There is no run"):
        store.folder_of(job_id)


def test_a_job_comes_back_as_it_was_written(store, view, events):
    store.open_job(ID)
    done = stage_done(events)
    path = store.write_proxy(ID, done.stage, done.image)
    view = apply_event(view, FileWritten(stage=0, kind="proxy", path=str(path)))
    store.write_job(view)
    assert store.read_job(ID) == view
    record = json.loads((store.folder / ID / "job.json").read_text())
    assert record["view"]["stages"][0]["proxy_path"] == "stage-0-64x64.jpg"
    assert record["versions"]["python"]


def test_a_folder_that_moved_still_finds_its_pictures(store, view, events, tmp_path):
    store.open_job(ID)
    done = stage_done(events)
    path = store.write_proxy(ID, done.stage, done.image)
    store.write_job(apply_event(view, FileWritten(stage=0, kind="proxy", path=str(path))))
    moved = Store(store.folder.rename(tmp_path / "elsewhere"))
    found = Path(moved.read_job(ID).stages[0].proxy_path)
    assert found.is_file()
    assert found.parent == tmp_path / "elsewhere" / ID
    found.unlink()
    assert moved.read_job(ID).stages[0].proxy_path is None


def test_tiles_are_found_again_as_a_folder_and_are_gone_when_it_is(store, view, events):
    store.open_job(ID)
    done = stage_done(events)
    path = store.write_tiles(ID, done.stage, done.image)
    view = apply_event(view, FileWritten(stage=0, kind="tiles", path=str(path)))
    store.write_job(view)
    assert store.read_job(ID) == view
    shutil.rmtree(path)
    assert store.read_job(ID).stages[0].tiles_path is None


def test_tiles_count_in_the_size_of_a_job(store, view, events):
    store.open_job(ID)
    store.write_job(view)
    done, record = stage_done(events), store.weight(ID)
    assert record == (store.folder / ID / "job.json").stat().st_size
    store.write_tiles(ID, done.stage, done.image)
    assert store.weight(ID) > record
    store.remove_job(ID)
    assert store.weight(ID) == 0 and not (store.folder / ID).exists()


def test_a_list_of_jobs_leaves_out_other_folders(store, view):
    assert store.job_ids() == ()
    for name in ("my-holiday-pictures", "short"):
        (store.folder / name).mkdir(parents=True)
    (store.folder / "short" / "job.json").write_text("{}")
    store.open_job(ID)
    assert store.job_ids() == ()
    store.write_job(view)
    assert store.job_ids() == (ID,)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "3"])
def test_an_unreadable_note_is_empty(store, content):
    store.open_job(ID)
    if content is not None:
        (store.folder / ID / "about.json").write_text(content)
    assert store.read_about(ID) == {}
    store.write_about(ID, {"note": "a"})
    assert store.read_about(ID) == {"note": "a"}


def test_a_picture_has_its_sidecar_and_names_its_stage(store, events, plan):
    store.open_job(ID)
    done = stage_done(events)
    path = store.write_picture(ID, plan, done.stage, done.image, seconds=6.0, created=7.0)
    assert path.name == "stage-0-64x64.png"
    assert read_png(path)["gspn_studio"]["stage"] == 0
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert (sidecar["seconds"], sidecar["created"]) == (6.0, 7.0)


def test_a_run_that_was_cut_off_is_read_as_interrupted_with_its_finished_stages(store, events):
    view = RunView(id=ID, created=5.0)
    for event in events[:9]:
        view = apply_event(view, event)
    store.open_job(ID)
    store.write_job(view)
    back = store.read_job(ID)
    assert back.state == "interrupted"
    assert "finished stages are kept" in back.error
    assert [stage.state for stage in back.stages] == ["done", "stopped", "stopped"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"view": {}}', '{"view": {"id": 1}}', "null"])
def test_a_damaged_record_is_refused_in_a_sentence(store, content):
    store.open_job(ID)
    (store.folder / ID / "job.json").write_text(content)
    with pytest.raises(GspnError, match="is damaged"):
        store.read_job(ID)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": []},
        {"state": "merry"},
        {"created": "yesterday"},
        {"created": float("nan")},
        {"stages": [{"index": 0, "height": 64, "width": 64, "png_path": 3}]},
        {"stages": [{"index": 5, "height": 64, "width": 64}]},
        {"stages": [{"index": 0, "height": "64", "width": 64}]},
    ],
)
def test_a_record_with_foreign_values_is_refused_in_a_sentence(store, view, change):
    store.open_job(ID)
    store.write_job(view)
    path = store.folder / ID / "job.json"
    record = json.loads(path.read_text())
    record["view"] |= change
    path.write_text(json.dumps(record))
    with pytest.raises(GspnError, match="is damaged"):
        store.read_job(ID)


def test_a_copied_folder_is_a_run_of_its_own(store, view):
    store.open_job(ID)
    store.write_job(view)
    copy = f"{ID}-copy"
    shutil.copytree(store.folder / ID, store.folder / copy)
    assert store.read_job(copy).id == copy
    assert store.read_job(ID).id == ID


def test_a_server_that_is_killed_in_the_midst_of_writing_leaves_a_whole_record(store, view):
    code = (
        "import sys, json\nfrom pathlib import Path\nfrom gspn_core.runs.store import Store\n"
        "store = Store(Path(sys.argv[1]))\nview = store.read_job(sys.argv[2])\nprint('ready', flush=True)\n"
        "while True:\n    store.write_job(view)\n    store.write_about(view.id, {'note': 'n' * 100_000})\n"
    )
    store.open_job(ID)
    store.write_job(view)
    command = [sys.executable, "-c", code, str(store.folder), ID]
    for moment in (0.01, 0.05, 0.13):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(moment)
            writer.kill()
        assert store.read_job(ID) == view
        assert store.read_about(ID) in ({}, {"note": "n" * 100_000})


def test_an_unknown_run_is_refused(store):
    with pytest.raises(GspnError, match="There is no run"):
        store.read_job(ID)
