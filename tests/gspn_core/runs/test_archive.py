from __future__ import annotations

import dataclasses

import pytest

from gspn_core.errors import BadSetting, GspnError
from gspn_core.runs.archive import Archive, owner_of
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import RunView
from gspn_core.runs.store import Store

ANNA, BEN = owner_of("anna's token"), owner_of("ben's token")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "jobs")


@pytest.fixture
def archive(store):
    return Archive(store)


@pytest.fixture
def view(events):
    view = RunView(id="a" * 22, created=5.0)
    for event in events:
        view = apply_event(view, event)
    return view


@pytest.fixture
def keep(archive, store, view):
    """Return a function that keeps a run of 10,000 bytes and more under a number as its time."""

    def one(number: int, owner: str = ANNA) -> str:
        run = dataclasses.replace(view, id=f"job-{number}-{'x' * 16}", created=float(number))
        archive.open(run, owner)
        store.write_job(run)
        (store.folder_of(run.id) / "stage-0-64x64.png").write_bytes(b"x" * 10_000)
        archive.update(run, weigh=True)
        return run.id

    return one


def unprotected(_job_id: str) -> bool:
    return False


def pruned(archive: Archive, keep_bytes: int, is_protected=unprotected) -> list[str]:
    return [view.id for view in archive.prune(keep_bytes, is_protected)]


def test_an_owner_is_known_by_a_token_that_is_not_kept(store, keep):
    job_id = keep(1)
    assert ANNA != BEN and owner_of("") == ""
    assert "token" not in (store.folder_of(job_id) / "about.json").read_text()


def test_a_visitor_sees_only_own_runs_newest_first(archive, keep):
    ids = [keep(number) for number in range(5)]
    other = keep(9, BEN)
    assert [run.id for run in archive.history(ANNA, limit=10)] == ids[::-1]
    assert [run.id for run in archive.history(ANNA, limit=2)] == [ids[4], ids[3]]
    assert [run.id for run in archive.history(ANNA, limit=2, before=3.0)] == [ids[2], ids[1]]
    assert [run.id for run in archive.history(BEN, limit=10)] == [other]
    assert archive.history("", limit=10) == ()


def test_a_run_without_an_owner_is_in_no_list_and_cannot_be_changed(archive, keep):
    job_id = keep(1, "")
    assert archive.history("", limit=10) == ()
    for owner in ("", ANNA):
        with pytest.raises(GspnError, match="Only the browser that started"):
            archive.delete(job_id, owner)


def test_a_list_describes_a_run(archive, keep):
    job_id = keep(7)
    (run,) = archive.history(ANNA, limit=1)
    assert (run.id, run.created, run.state, run.prompt) == (job_id, 7.0, "done", "a lake")
    assert (run.stages_done, run.stages, run.height, run.planned_width) == (3, 3, 256, 256)
    assert run.bytes > 10_000
    assert run.thumb_path is None and not run.favourite and run.note == ""


def test_notes_and_favourites_outlive_the_server(archive, keep, store):
    job_id = keep(1)
    archive.annotate(job_id, ANNA, favourite=True)
    archive.annotate(job_id, ANNA, note="  the good one ")
    for kept in (archive, Archive(store)):
        (run,) = kept.history(ANNA, limit=1)
        assert (run.favourite, run.note) == (True, "the good one")
    assert run.bytes > 10_000


def test_only_its_owner_changes_a_run(archive, keep):
    job_id = keep(1)
    with pytest.raises(GspnError, match="Only the browser that started"):
        archive.annotate(job_id, BEN, note="mine")
    with pytest.raises(GspnError, match="Only the browser that started"):
        archive.delete(job_id, BEN)
    with pytest.raises(GspnError, match="There is no run"):
        archive.delete("x" * 22, ANNA)
    assert archive.history(ANNA, limit=1)[0].note == ""


def test_a_note_of_any_length_is_not_taken(archive, keep):
    with pytest.raises(BadSetting, match="note has 2,001 characters, at most 2,000 fit"):
        archive.annotate(keep(1), ANNA, note="x" * 2001)


def test_a_deleted_run_is_gone_from_list_and_disk(archive, keep, store):
    job_id, kept = keep(1), keep(2)
    archive.delete(job_id, ANNA)
    assert [run.id for run in archive.history(ANNA, limit=9)] == [kept]
    assert not store.folder_of(job_id).exists()


def test_the_oldest_go_until_the_rest_fits_but_no_favourite_and_none_that_is_needed(archive, keep, store):
    ids = [keep(number) for number in range(6)]
    own, everything = archive.usage(ANNA)
    size = own // 6
    assert own == everything
    archive.annotate(ids[0], ANNA, favourite=True)
    assert pruned(archive, everything) == []
    assert pruned(archive, 4 * size + 100, {ids[1]}.__contains__) == [ids[2], ids[3]]
    assert archive.usage(ANNA)[0] == pytest.approx(4 * size, abs=100)
    assert pruned(archive, 0, set(ids).__contains__) == []
    assert pruned(archive, 0) == [ids[1], ids[4], ids[5]]
    assert [path.name for path in store.folder.iterdir()] == [ids[0]]


def test_usage_has_the_own_and_all_bytes(archive, keep):
    keep(1), keep(2, BEN), keep(3, "")
    own, everything = archive.usage(ANNA)
    assert everything == pytest.approx(3 * own, rel=0.01)
    assert archive.usage("") == (0, everything)


def test_a_damaged_record_counts_and_goes_like_any_other(store, keep):
    job_id = keep(1)
    (store.folder_of(job_id) / "job.json").write_text("{")
    again = Archive(store)
    assert again.usage("")[1] > 10_000
    assert pruned(again, 0) == [job_id]


def test_folders_that_are_no_jobs_are_never_touched(store):
    foreign = store.folder / "my-holiday-pictures"
    foreign.mkdir(parents=True)
    (foreign / "a.jpg").write_bytes(b"x" * 1000)
    assert pruned(Archive(store), 0) == []
    assert (foreign / "a.jpg").is_file()


@pytest.mark.parametrize("moment", [0.5, 1e9])
def test_a_clock_that_jumps_changes_neither_removal_nor_listing_order(archive, keep, store, view, moment):
    ids = [keep(number) for number in (100, 200)]
    # A server that starts again goes on in the same order.
    for server, name in ((archive, "after-the-jump"), (None, "after-the-start")):
        kept = server or Archive(store)
        run = dataclasses.replace(view, id=f"{name}-{'x' * 16}", created=moment)
        kept.open(run, ANNA)
        store.write_job(run)
        ids.append(run.id)
        assert [run.id for run in kept.history(ANNA, limit=9)] == ids[::-1]
    assert pruned(Archive(store), 0) == ids


def test_runs_of_a_version_without_an_order_are_the_oldest_by_their_time(keep, store):
    ids = [keep(number) for number in (3, 2, 9)]
    for job_id in ids[:2]:
        store.write_about(job_id, {"owner": ANNA, "favourite": False, "note": ""})
    assert pruned(Archive(store), 0) == [ids[1], ids[0], ids[2]]


def test_a_visitors_favourites_hold_a_share_of_the_quota_and_no_more(archive, keep, store):
    ids = [keep(number) for number in range(3)]
    others = [keep(number, owner_of(f"visitor {number}")) for number in range(3, 8)]
    size = archive.usage(ANNA)[0] // 3
    shared = Archive(store, quota_bytes=int(8.5 * size))
    for job_id in ids[:2]:
        shared.annotate(job_id, ANNA, favourite=True)
    with pytest.raises(
        GspnError, match=r"would take 0\.\d MB, more than the 0\.\d MB allowed; remove another"
    ):
        shared.annotate(ids[2], ANNA, favourite=True)
    assert [run.favourite for run in shared.history(ANNA, limit=9)] == [False, True, True]
    shared.annotate(ids[0], ANNA, note="one that is a favourite stays one", favourite=True)
    # The remedy works.
    shared.annotate(ids[0], ANNA, favourite=False)
    shared.annotate(ids[2], ANNA, favourite=True)
    for number, job_id in zip((3, 4), others, strict=False):
        shared.annotate(job_id, owner_of(f"visitor {number}"), favourite=True)
    with pytest.raises(GspnError, match="All favourites together would take"):
        shared.annotate(others[2], owner_of("visitor 5"), favourite=True)


def test_a_favourite_that_came_to_be_too_large_goes_like_any_other_run(archive, keep, store):
    first, second = keep(1), keep(2)
    shared = Archive(store, quota_bytes=archive.usage(ANNA)[1] * 4 + 400)
    for job_id in (first, second):
        shared.annotate(job_id, ANNA, favourite=True)
    (store.folder_of(first) / "stage-1-128x128.png").write_bytes(b"x" * 100_000)
    shared.weigh(first)
    assert pruned(shared, 0) == [first]


def test_a_favourite_that_cannot_be_written_is_none(archive, keep, monkeypatch):
    def full(*_arguments) -> None:
        raise OSError(28, "No space left on device")

    job_id = keep(1)
    monkeypatch.setattr(Store, "write_about", full)
    with pytest.raises(GspnError, match="could not be written"):
        archive.annotate(job_id, ANNA, favourite=True, note="a note")
    (run,) = archive.history(ANNA, limit=1)
    assert (run.favourite, run.note) == (False, "")
