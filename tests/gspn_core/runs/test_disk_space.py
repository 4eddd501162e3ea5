from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from gspn_core.errors import GspnError
from gspn_core.files import remove_folder
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.store import Store
from gspn_core.settings import Settings
from gspn_core.studies.axis import parse_axis
from gspn_core.studies.export import write_export
from gspn_core.studies.runner import Studies

SETTINGS = Settings(prompt="a lake", seed=3, target=128)


@pytest.fixture
def open_jobs(make_engine, tmp_path):
    """Return a function that opens RunQueue in one folder; those before are closed, all are at the end."""
    opened = []

    def open_one(**options) -> RunQueue:
        for jobs in opened:
            jobs.close()
        engine = make_engine()
        opened.append(
            RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan, **{"view_seconds": 0.0, **options})
        )
        return opened[-1]

    yield open_one
    for jobs in opened:
        jobs.close()


def done(jobs: RunQueue, visitor: str = "anna", **changes) -> str:
    job_id = jobs.submit(Settings(**{**SETTINGS.to_dict(), **changes}), visitor=visitor)
    *_, view = jobs.follow(job_id)
    assert view.state == "done"
    return job_id


def held(folder: Path) -> int:
    """Return the bytes of all files, as the system counts them."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def photograph(tmp_path):
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_all_that_is_in_the_folder_is_in_the_account(open_jobs, photograph):
    jobs = open_jobs()
    one, other = done(jobs), done(jobs, seed=4)
    jobs.compare((one, 1), (other, 1))
    jobs.take_start(photograph, "photo.png")
    study = jobs.folder / "studies" / ("s" * 22)
    study.mkdir(parents=True)
    (study / "study.zip").write_bytes(b"x" * 5000)
    for name in ("n" * 22, "my-holiday-pictures"):
        (jobs.folder / name).mkdir()
        (jobs.folder / name / "a.jpg").write_bytes(b"x" * 7000)
    own, everything, _ = jobs.usage("anna")
    assert everything == held(jobs.folder)
    assert own == held(jobs.folder / one) + held(jobs.folder / other)
    # A server that starts again finds the same.
    assert open_jobs().usage("anna")[:2] == (own, everything)


def test_archives_go_before_any_run_and_the_oldest_first(open_jobs):
    jobs = open_jobs()
    first = done(jobs)
    archives = []
    for number in range(2):
        folder = jobs.folder / "studies" / (f"{number}" * 22)
        folder.mkdir(parents=True)
        archives.append(folder / "study.zip")
        archives[-1].write_bytes(b"x" * 50_000)
        os.utime(archives[-1], (number, number))
    jobs = open_jobs(keep_bytes=held(jobs.folder))
    second = done(jobs, seed=4)
    jobs.close()
    assert [path.is_file() for path in archives] == [False, True]
    assert {run.id for run in jobs.history("anna")} == {first, second}


def test_another_programs_folder_stays_and_does_not_displace_all_runs(open_jobs):
    jobs = open_jobs()
    kept = [done(jobs, seed=seed) for seed in range(4)]
    size = jobs.usage("anna")[0] // 4
    foreign = jobs.folder / "my-holiday-pictures" / "a.jpg"
    foreign.parent.mkdir()
    foreign.write_bytes(b"x" * 50 * size)
    jobs = open_jobs(keep_bytes=7 * size)
    kept.append(done(jobs, seed=9))
    jobs.close()
    assert foreign.is_file()
    assert [run.id for run in jobs.history("anna")] == kept[:1:-1]


def test_leftovers_of_a_run_without_record_count_and_are_removed_first(open_jobs):
    jobs = open_jobs()
    lost, kept = done(jobs), done(jobs, seed=4)
    record = jobs.folder / lost / "job.json"
    record_bytes = record.stat().st_size
    record.unlink()
    size = held(jobs.folder)
    jobs = open_jobs()
    assert jobs.usage("anna")[:2] == (size, size)
    assert [(run.id, run.state) for run in jobs.history("anna")] == [(kept, "done"), (lost, "failed")]
    jobs = open_jobs(keep_bytes=size + record_bytes + 500)
    newest = done(jobs, seed=5)
    jobs.close()
    assert {run.id for run in jobs.history("anna")} == {kept, newest}
    assert not (jobs.folder / lost).exists()


def test_what_was_derived_from_a_run_is_removed_with_it(open_jobs, photograph, card):
    jobs = open_jobs()
    start = jobs.take_start(photograph, "photo.png")
    gone = done(jobs, start=start, target=256)
    kept = done(jobs, seed=4, target=256)
    other = done(jobs, seed=5, target=256)
    jobs.compare((kept, 1), (other, 1))
    pairs = sorted(path.name for path in (jobs.folder / kept).glob("pair-*"))
    assert len(pairs) == 2
    studies = Studies(jobs)
    study = studies.start(studies.draft(SETTINGS, [parse_axis("seed", "21, 22", card)]), visitor="anna")
    *_, view = studies.follow(study)
    archive = studies.folder_of(study) / "study.zip"
    write_export(archive, view, jobs.view)
    assert zipfile.is_zipfile(archive)
    jobs.delete(gone, "anna")
    assert not (jobs.folder / gone).exists() and list((jobs.folder / "starts").iterdir()) == []
    assert archive.exists() and sorted(p.name for p in (jobs.folder / kept).glob("pair-*")) == pairs
    jobs.delete(other, "anna")
    assert list((jobs.folder / kept).glob("pair-*")) == []
    jobs.delete(view.cells[1].job_id, "anna")
    assert not archive.exists() and (archive.parent / "study.json").is_file()
    studies.delete(study, visitor="anna")
    assert list(studies.folder.iterdir()) == []


def test_an_init_image_stays_for_the_run_that_still_has_it(open_jobs, photograph):
    jobs = open_jobs()
    start = jobs.take_start(photograph, "photo.png", visitor="anna")
    first, second = (done(jobs, start=start, target=256, seed=seed) for seed in (1, 2))
    jobs.delete(first, "anna")
    assert jobs.start_proxy(start) is not None
    jobs.delete(second, "anna")
    assert jobs.start_proxy(start) is None


def test_comparisons_count_at_once_and_make_room_at_once(open_jobs):
    jobs = open_jobs()
    ids = [done(jobs, seed=seed) for seed in range(3)]
    before = held(jobs.folder)
    jobs = open_jobs(keep_bytes=before + 10)
    jobs.compare((ids[1], 1), (ids[2], 1))
    assert held(jobs.folder) <= before
    assert [run.id for run in jobs.history("anna")] == [ids[2], ids[1]]


def test_a_run_that_cannot_be_removed_at_once_is_gone_all_the_same(open_jobs, monkeypatch):
    jobs = open_jobs()
    job_id = done(jobs)
    with monkeypatch.context() as held_open:
        held_open.setattr("shutil.rmtree", lambda *_arguments, **_options: None)
        jobs.delete(job_id, "anna")
    assert not (jobs.folder / job_id).exists()
    assert jobs.usage("anna")[0] == 0 and jobs.usage("anna")[1] == held(jobs.folder) > 0
    with pytest.raises(GspnError, match="There is no run"):
        jobs.view(job_id)
    jobs = open_jobs()
    assert held(jobs.folder) == 0


def test_a_damaged_record_does_not_prevent_removal(tmp_path):
    store = Store(tmp_path / "jobs")
    folder = store.folder_of("a" * 22)
    (folder / "job.json").mkdir(parents=True)
    store.remove_job("a" * 22)
    assert not folder.exists()
    remove_folder(folder)
