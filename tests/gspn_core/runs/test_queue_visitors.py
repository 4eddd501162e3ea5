"""What visitors may do with their own runs and those of others, and the quota."""

from __future__ import annotations

from pathlib import Path

import pytest

from gspn_core.errors import Busy, GspnError, NotOwner
from tests.gspn_core.conftest import Gate
from tests.gspn_core.runs.conftest import SETTINGS, again, last


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
    # An ended run does not change, for any visitor.
    jobs.stop(running, visitor="ben")


def test_a_run_without_a_token_is_stopped_by_whoever_has_its_id(open_jobs, make_engine):
    gate = Gate(at=3)
    jobs = open_jobs(make_engine(before_event=gate))
    job_id = jobs.submit(SETTINGS)
    gate.wait()
    jobs.stop(job_id, visitor="ben")
    gate.open()
    assert last(jobs, job_id).state == "stopped"


def test_a_guest_makes_own_runs_from_a_visible_one(open_jobs, make_engine):
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
    with pytest.raises(Busy, match="You have 2 waiting runs, the maximum; stop one"):
        jobs.submit(again(seed=6), visitor="anna")
    ids = [jobs.submit(again(seed=seed), visitor="ben") for seed in (7, 8)]
    with pytest.raises(Busy, match="full with 4 waiting runs"):
        jobs.submit(again(seed=9), visitor="cleo")
    gate.open()
    assert last(jobs, ids[-1]).state == "done"
    last(jobs, jobs.submit(again(seed=6), visitor="anna"))


def test_a_visitor_lists_annotates_and_removes_own_runs(open_jobs, make_engine):
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


def test_a_live_run_is_not_removed_and_keeps_its_note(open_jobs, make_engine):
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
    assert len(said) == 4 and all("remove another favourite first" in text for text in said)
    others = [jobs.submit(again(seed=seed), visitor="ben") for seed in range(10, 15)]
    for job_id in others:
        last(jobs, job_id)
    assert {run.id for run in jobs.history("ben")} == set(others)
