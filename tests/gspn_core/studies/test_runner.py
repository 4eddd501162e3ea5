"""Studies run on the queue: their cells, costs, stops and failures."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile

import pytest

from gspn_core.errors import BadSetting, GspnError, ModelUnavailable, OutOfMemory
from gspn_core.runs.run import RunView
from gspn_core.settings import Settings
from gspn_core.studies import runner as module
from gspn_core.studies.axis import parse_axis
from gspn_core.studies.cell import ended
from gspn_core.studies.export import write_export
from gspn_core.studies.study import StudyView
from tests.gspn_core.conftest import Gate
from tests.gspn_core.studies.conftest import BASE, states


def test_every_cell_is_a_run_and_has_figures(lab, make_engine):
    one = lab(make_engine())
    view = one.end(one.start(("gaussian_sigma", "0, 1"), ("seed", "2 from 5")))
    assert view.state == "done" and states(view) == ["done"] * 4
    assert len({cell.job_id for cell in view.cells}) == 4
    for cell in view.cells:
        job = one.jobs.view(cell.job_id)
        assert (job.settings["gaussian_sigma"], job.settings["seed"]) == cell.values
        assert cell.progress == 1.0 and cell.seconds > 0 and cell.peak_bytes > 0
        assert cell.detail is not None and cell.consistency is not None
    assert len(one.jobs.history("anna")) == 4


def test_a_cell_has_its_adherence(lab, make_engine):
    seen = []

    def adherence(prompt, picture):
        seen.append((prompt, picture.size))
        return 0.75 if prompt == "a lake" else None

    one = lab(make_engine(), adherence=adherence)
    assert one.studies.tells_adherence
    view = one.end(one.start(("prompt", "a lake\na dragon")))
    assert [cell.adherence for cell in view.cells] == [0.75, None]
    assert seen == [("a lake", (128, 128)), ("a dragon", (128, 128))]


def test_a_network_that_cannot_be_read_costs_a_figure_and_no_cell(lab, make_engine):
    def adherence(_prompt, _picture):
        raise ModelUnavailable("The classifier cannot be read.")

    one = lab(make_engine(), adherence=adherence)
    (cell,) = one.end(one.start(("seed", "5"))).cells
    assert cell.state == "done" and cell.adherence is None and cell.detail is not None


def test_without_one_no_cell_has_an_adherence(lab, make_engine):
    one = lab(make_engine())
    assert not one.studies.tells_adherence
    assert one.end(one.start(("seed", "2 from 5"))).cells[0].adherence is None


def test_stages_that_cells_share_run_once(lab, make_engine):
    engine = make_engine()
    one = lab(engine)
    axes = [parse_axis("gaussian_sigma", "0, 1", one.card), parse_axis("seed", "2 from 5", one.card)]
    planned = one.studies.draft(BASE, axes)
    answer = one.studies.cost(planned)
    assert (answer.cells, answer.pictures, answer.stages_to_run, answer.stages_shared) == (4, 4, 6, 2)
    assert answer.calls == 2 * 4 + 4 * 2 and answer.seconds is None
    one.end(one.studies.start(planned, visitor="anna"))
    ran = sum(2 - len(finished) for finished in engine.finished)
    assert ran == answer.stages_to_run
    again = one.studies.cost(one.studies.draft(BASE, axes))
    assert (again.stages_to_run, again.stages_shared, again.calls, again.seconds) == (0, 8, 0, 0.0)
    other = one.studies.cost(one.studies.draft(BASE, [parse_axis("seed", "50", one.card)]))
    assert other.seconds > 0


def test_cells_that_share_their_first_stages_follow_one_another(lab, make_engine):
    one = lab(make_engine())
    axes = [parse_axis("gaussian_sigma", "0, 1", one.card), parse_axis("seed", "1, 2", one.card)]
    assert one.studies.draft(BASE, axes).order == (0, 2, 1, 3)


def test_an_open_seed_is_drawn_once_for_all_cells(lab, make_engine):
    one = lab(make_engine())
    planned = one.studies.draft(
        Settings(prompt="a lake", target=64), [parse_axis("guidance_scale", "1, 2, 3", one.card)]
    )
    assert len({cell.settings["seed"] for cell in planned.cells}) == 1


def test_a_study_that_is_stopped_goes_on_where_it_was(lab, make_engine):
    gate = Gate(at=9)
    engine = make_engine(before_event=gate)
    one = lab(engine)
    study = one.start(("seed", "3 from 1"))
    gate.wait()
    one.studies.stop(study, visitor="anna")
    gate.open()
    view = one.end(study)
    assert (view.state, states(view)) == ("stopped", ["waiting"] * 3)
    one.studies.resume(study, visitor="anna")
    view = one.end(study)
    assert (view.state, states(view)) == ("done", ["done"] * 3)
    # The stage that was finished before the stop was not made again.
    assert len(engine.finished[1]) == 1


def test_a_study_is_resumed_while_its_last_step_is_still_ending(lab, make_engine):
    gate = Gate(at=3)
    engine = make_engine(before_event=gate)
    one = lab(engine)
    study = one.start(("seed", "2 from 1"))
    gate.wait()
    one.studies.stop(study, visitor="anna")
    one.studies.resume(study, visitor="anna")
    one.studies.resume(study, visitor="anna")
    assert one.studies.view(study).state == "running"
    gate.open()
    view = one.end(study)
    assert (view.state, states(view)) == ("done", ["done", "done"])
    # The first cell's stopped run and one run of each: no cell ran twice at once.
    assert len(one.jobs.history("anna")) == 3


def test_a_cell_that_fails_inside_is_reported_and_the_others_go_on(lab, make_engine, monkeypatch):
    ended = module.ended

    def breaks(view, **options):
        if view.settings["seed"] == 1:
            raise RuntimeError("a picture broke")
        return ended(view, **options)

    monkeypatch.setattr(module, "ended", breaks)
    one = lab(make_engine())
    view = one.end(one.start(("seed", "2 from 1")))
    assert (view.state, states(view)) == ("done", ["failed", "done"])
    assert "RuntimeError" in view.cells[0].error


def test_a_run_that_a_closing_server_leaves_is_no_failure_of_its_cell():
    going = RunView(id="a" * 16, created=0.0, state="running")
    assert ended(going, stopped=True)["state"] == "waiting"
    assert ended(going, stopped=False)["state"] == "failed"


def test_a_study_outlives_a_server_that_is_killed(lab, make_engine, tmp_path):
    gate = Gate(at=9)
    one = lab(make_engine(before_event=gate))
    study = one.start(("seed", "2 from 1"))
    gate.wait()
    # The writer is still at work; unfinished files have another name and may vanish meanwhile.
    shutil.copytree(one.jobs.folder, tmp_path / "killed", ignore=shutil.ignore_patterns("*.part"))
    gate.open()
    after = lab(make_engine(), tmp_path / "killed")
    assert after.studies.view(study).state == "stopped"
    assert states(after.studies.view(study)) == ["waiting", "waiting"]
    assert [view.id for view in after.studies.list("anna")] == [study]
    after.studies.resume(study, visitor="anna")
    assert states(after.end(study)) == ["done", "done"]


def test_a_cell_that_fails_says_why_and_the_others_go_on(lab, make_engine):
    def fails(settings: Settings, number: int) -> None:
        if settings.seed == 2 and number == 3:
            raise OutOfMemory("memory ran out at a target of 128 px.")

    engine = make_engine(before_event=fails)
    one = lab(engine)
    study = one.start(("seed", "3 from 1"))
    view = one.end(study)
    assert (view.state, states(view)) == ("done", ["done", "failed", "done"])
    assert view.cells[1].error == "memory ran out at a target of 128 px."
    engine.before_event = lambda *_: None
    one.studies.retry(study, 1, visitor="anna")
    view = one.end(study)
    assert states(view) == ["done"] * 3 and view.cells[1].error is None


def test_a_cell_can_be_skipped_while_it_waits_and_while_it_runs(lab, make_engine):
    gate = Gate()
    one = lab(make_engine(before_event=gate))
    study = one.start(("seed", "3 from 1"))
    gate.wait()
    one.studies.skip(study, 0, visitor="anna")
    one.studies.skip(study, 2, visitor="anna")
    gate.open()
    view = one.end(study)
    assert (view.state, states(view)) == ("done", ["skipped", "done", "skipped"])
    with pytest.raises(GspnError, match="there is no cell 7"):
        one.studies.skip(study, 7, visitor="anna")


def test_a_full_queue_is_waited_for(lab, make_engine, monkeypatch):
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.05)
    gate = Gate()
    one = lab(make_engine(before_event=gate), max_queued=1)
    one.jobs.submit(BASE)
    gate.wait()
    waiting = one.jobs.submit(Settings(prompt="another", seed=1))
    study = one.start(("seed", "2 from 1"))
    for view in one.studies.follow(study):
        if view.notice:
            assert "full with 1 waiting" in view.notice
            gate.open()
    assert states(one.end(study)) == ["done", "done"] and one.end(study).notice == ""
    assert one.jobs.view(waiting).state == "done"


def test_a_draft_refuses_what_no_run_could_do(lab, make_engine):
    one = lab(make_engine())
    with pytest.raises(BadSetting, match=r"^At 100: .*reaches a target of"):
        one.studies.draft(BASE, [parse_axis("target", "64, 100", one.card)])


def test_an_export_needs_nothing_else(lab, make_engine, tmp_path):
    def fails(settings: Settings, number: int) -> None:
        if settings.seed == 2 and number == 3:
            raise OutOfMemory("no <memory>.")

    one = lab(make_engine(before_event=fails))
    base = Settings(prompt="=cmd() <script>alert(1)</script>", seed=3, target=128)
    view = one.end(one.start(("gaussian_sigma", "0, 1"), ("seed", "1, 2"), base=base))
    write_export(tmp_path / "study.zip", view, one.jobs.view)
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        names = archive.namelist()
        assert names == ["index.html", "study.json", "cells.csv", "images/cell-01.png", "images/cell-03.png"]
        page = archive.read("index.html").decode()
        assert "<script>alert" not in page and "http:" not in page and "no &lt;memory&gt;." in page
        assert all(f"src='{name}'" in page for name in names[3:])
        # A varied setting is not listed with the common ones.
        assert "<dt>seed" not in page and "<dt>target" in page
        rows = list(csv.DictReader(io.StringIO(archive.read("cells.csv").decode())))
        assert [row["state"] for row in rows] == ["done", "failed", "done", "failed"]
        assert rows[2]["gaussian_sigma"] == "1.0" and rows[0]["prompt"].startswith("'=")
        assert float(rows[0]["seconds"]) > 0
        assert StudyView.from_dict(json.loads(archive.read("study.json"))) == view
