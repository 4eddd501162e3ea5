from __future__ import annotations

import csv
import io
import json
import os
import shutil
import threading
import zipfile

import pytest

from gspn_core.errors import BadSetting, Busy, GspnError, ModelUnavailable, NotOwner, OutOfMemory
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RunView
from gspn_core.settings import Settings
from gspn_core.studies import runner as module
from gspn_core.studies.axis import parse_axis
from gspn_core.studies.cell import ended
from gspn_core.studies.export import write_export
from gspn_core.studies.runner import Studies
from gspn_core.studies.study import StudyView

WAIT_SECONDS = 90
BASE = Settings(prompt="a lake", seed=3, target=128)


@pytest.fixture
def lab(tmp_path, card):
    """Return a function that opens studies on an engine, in one folder; all are closed at the end."""
    opened = []

    class Lab:
        def __init__(self, engine, folder, adherence=None, **options) -> None:
            self.jobs = RunQueue(engine.run, folder, plan=engine.plan, view_seconds=0.0, **options)
            self.studies = Studies(self.jobs, calls_of=lambda stage: stage.steps, adherence=adherence)
            self.card = card

        def start(self, *axes: tuple, visitor: str = "anna", base: Settings = BASE) -> str:
            parsed = [parse_axis(*axis, self.card) for axis in axes]
            return self.studies.start(self.studies.draft(base, parsed), visitor=visitor)

        def end(self, study_id: str) -> StudyView:
            *_, view = self.studies.follow(study_id)
            return view

        def close(self) -> None:
            self.studies.close()
            self.jobs.close()

    def open_one(engine, folder=tmp_path / "jobs", **options) -> Lab:
        opened.append(Lab(engine, folder, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


class Gate:
    """Holds an engine before an event of its first run until it is opened."""

    def __init__(self, at: int = 3) -> None:
        self.at, self.reached, self._open = at, threading.Event(), threading.Event()

    def __call__(self, _settings: Settings, number: int) -> None:
        if number == self.at and not self._open.is_set():
            self.reached.set()
            assert self._open.wait(WAIT_SECONDS)

    def wait(self) -> None:
        assert self.reached.wait(WAIT_SECONDS)

    def open(self) -> None:
        self._open.set()


def states(view: StudyView) -> list[str]:
    return [cell.state for cell in view.cells]


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


def test_a_cell_is_told_how_much_of_its_prompt_it_shows(lab, make_engine):
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
    # The first cell's stopped run and one run of each: no cell ran beside itself.
    assert len(one.jobs.history("anna")) == 3


def test_a_cell_that_breaks_inside_is_told_and_the_others_go_on(lab, make_engine, monkeypatch):
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
    # The writer is at work still; what it has not finished bears another name and may go meanwhile.
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
            assert "1 runs wait already" in view.notice
            gate.open()
    assert states(one.end(study)) == ["done", "done"] and one.end(study).notice == ""
    assert one.jobs.view(waiting).state == "done"


def test_only_its_own_visitor_changes_a_study_and_whoever_has_its_id_looks(lab, make_engine):
    one = lab(make_engine())
    study = one.start(("seed", "1, 2"))
    one.end(study)
    for change in (one.studies.resume, one.studies.stop, one.studies.delete):
        with pytest.raises(GspnError, match="Only the browser that started this study"):
            change(study, visitor="ben")
    assert one.studies.list("ben") == one.studies.list("") == ()
    assert one.studies.view(study).id == study
    for wrong in ("nobody", "../../etc", "x" * 22, None):
        with pytest.raises(GspnError, match="There is no study"):
            one.studies.view(wrong)


def test_a_study_without_a_token_is_stopped_by_whoever_has_its_id(lab, make_engine):
    gate = Gate()
    one = lab(make_engine(before_event=gate))
    study = one.start(("seed", "1, 2"), visitor="")
    gate.wait()
    one.studies.stop(study, visitor="ben")
    gate.open()
    assert one.end(study).state == "stopped"
    with pytest.raises(NotOwner, match="Only the browser that started this study"):
        one.studies.delete(study, visitor="ben")


def test_a_study_that_is_removed_leaves_its_runs(lab, make_engine):
    gate = Gate()
    one = lab(make_engine(before_event=gate))
    study = one.start(("seed", "1, 2"))
    gate.wait()
    with pytest.raises(GspnError, match="still going; stop it first"):
        one.studies.delete(study, visitor="anna")
    gate.open()
    one.end(study)
    one.studies.delete(study, visitor="anna")
    assert one.studies.list("anna") == ()
    assert not (one.jobs.folder / "studies" / study).exists()
    assert len(one.jobs.history("anna")) == 2


def test_only_so_many_studies_run_at_once(lab, make_engine, monkeypatch):
    monkeypatch.setattr(module, "MAX_RUNNING", 1)
    gate = Gate()
    one = lab(make_engine(before_event=gate))
    study = one.start(("seed", "1"))
    with pytest.raises(Busy, match="1 studies run already"):
        one.start(("seed", "2"))
    gate.open()
    one.end(study)
    assert states(one.end(one.start(("seed", "2")))) == ["done"]


def test_one_visitor_leaves_room_for_the_studies_of_others(lab, make_engine, monkeypatch):
    monkeypatch.setattr(module, "MAX_RUNNING_EACH", 1)
    gate = Gate()
    one = lab(make_engine(before_event=gate))
    study = one.start(("seed", "1"))
    with pytest.raises(Busy, match="1 of your studies run already"):
        one.start(("seed", "2"))
    other = one.start(("seed", "2"), visitor="ben")
    gate.open()
    assert states(one.end(study)) == states(one.end(other)) == ["done"]


def test_the_oldest_studies_go_when_there_are_too_many_whatever_the_clock_did(lab, make_engine, monkeypatch):
    monkeypatch.setattr(module, "MAX_KEPT", 2)
    one = lab(make_engine())
    begun = []
    for number, moment in enumerate((5e8, 9e8, 1e8, 3e8)):
        monkeypatch.setattr(module.time, "time", lambda moment=moment: moment)
        begun.append(one.start(("seed", str(number))))
        one.end(begun[-1])
        os.utime(one.studies.folder_of(begun[-1]) / "study.json", (moment, moment))
    assert [view.id for view in one.studies.list("anna")] == begun[:1:-1]
    # A server that starts again goes on in the same order.
    again = Studies(one.jobs)
    assert [view.id for view in again.list("anna")] == begun[:1:-1]
    assert {path.name for path in one.studies.folder.iterdir()} == set(begun[2:])
    assert len(one.jobs.history("anna")) == 4


def test_one_visitors_studies_take_no_other_visitors_place(lab, make_engine, monkeypatch):
    monkeypatch.setattr(module, "MAX_KEPT", 4)
    monkeypatch.setattr(module, "MAX_KEPT_EACH", 2)
    one = lab(make_engine())
    bens = one.start(("seed", "1"), visitor="ben")
    one.end(bens)
    annas = []
    for seed in range(5):
        annas.append(one.start(("seed", str(seed))))
        one.end(annas[-1])
    assert [view.id for view in one.studies.list("ben")] == [bens]
    assert [view.id for view in one.studies.list("anna")] == annas[:2:-1]


def test_a_damaged_record_is_refused_in_a_sentence(lab, make_engine):
    one = lab(make_engine())
    study = one.start(("seed", "1"))
    one.end(study)
    record = one.studies.folder_of(study) / "study.json"
    for content in ("{", "[]", '{"view": {}}', '{"view": null, "owner": ""}'):
        record.write_text(content)
        with pytest.raises(GspnError, match="is damaged"):
            Studies(one.jobs).view(study)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("created", "yesterday"),
        ("created", 1e13),
        ("version", "x"),
        ("order", [7]),
        ("cells", []),
        ("state", "merry"),
        ("notice", None),
    ],
)
def test_one_damaged_record_hides_no_other_study(lab, make_engine, caplog, name, value):
    one = lab(make_engine())
    good, bad = (one.start(("seed", seed)) for seed in ("1", "2"))
    for study in (good, bad):
        one.end(study)
    record = one.studies.folder_of(bad) / "study.json"
    content = json.loads(record.read_text())
    content["view"][name] = value
    record.write_text(json.dumps(content))
    again = Studies(one.jobs)
    assert [view.id for view in again.list("anna")] == [view.id for view in again.list("anna")] == [good]
    assert caplog.text.count(f"study {bad} is damaged") == 1


def test_a_file_in_place_of_the_folder_hides_no_study_and_is_set_aside(lab, make_engine):
    one = lab(make_engine())
    first = one.start(("seed", "1"))
    one.end(first)
    shutil.rmtree(one.studies.folder)
    one.studies.folder.write_text("in the way")
    assert [view.id for view in one.studies.list("anna")] == [first]
    second = one.start(("seed", "2"))
    assert one.end(second).state == "done"
    assert {view.id for view in one.studies.list("anna")} == {first, second}
    (aside,) = one.jobs.folder.glob("studies.set-aside-*")
    assert aside.read_text() == "in the way"


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
        # What is varied is no common setting.
        assert "<dt>seed" not in page and "<dt>target" in page
        rows = list(csv.DictReader(io.StringIO(archive.read("cells.csv").decode())))
        assert [row["state"] for row in rows] == ["done", "failed", "done", "failed"]
        assert rows[2]["gaussian_sigma"] == "1.0" and rows[0]["prompt"].startswith("'=")
        assert float(rows[0]["seconds"]) > 0
        assert StudyView.from_dict(json.loads(archive.read("study.json"))) == view
