"""Whose studies they are, how many are kept, and damaged records."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from gspn_core.errors import Busy, GspnError, NotOwner
from gspn_core.studies import runner as module
from gspn_core.studies.runner import Studies
from tests.gspn_core.conftest import Gate
from tests.gspn_core.studies.conftest import states


def test_only_its_own_visitor_changes_a_study_and_whoever_has_its_id_looks(lab, make_engine):
    one = lab(make_engine())
    study = one.start(("seed", "1, 2"))
    one.end(study)
    for change in (one.studies.resume, one.studies.stop, one.studies.delete):
        with pytest.raises(GspnError, match="Only the browser that started this grid"):
            change(study, visitor="ben")
    assert one.studies.list("ben") == one.studies.list("") == ()
    assert one.studies.view(study).id == study
    for wrong in ("unknown", "../../etc", "x" * 22, None):
        with pytest.raises(GspnError, match="There is no grid"):
            one.studies.view(wrong)


def test_a_study_without_a_token_is_stopped_by_whoever_has_its_id(lab, make_engine):
    gate = Gate()
    one = lab(make_engine(before_event=gate))
    study = one.start(("seed", "1, 2"), visitor="")
    gate.wait()
    one.studies.stop(study, visitor="ben")
    gate.open()
    assert one.end(study).state == "stopped"
    with pytest.raises(NotOwner, match="Only the browser that started this grid"):
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
    with pytest.raises(Busy, match="maximum of 1 grids"):
        one.start(("seed", "2"))
    gate.open()
    one.end(study)
    assert states(one.end(one.start(("seed", "2")))) == ["done"]


def test_one_visitor_leaves_room_for_the_studies_of_others(lab, make_engine, monkeypatch):
    monkeypatch.setattr(module, "MAX_RUNNING_EACH", 1)
    gate = Gate()
    one = lab(make_engine(before_event=gate))
    study = one.start(("seed", "1"))
    with pytest.raises(Busy, match="You have 1 running grids"):
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
