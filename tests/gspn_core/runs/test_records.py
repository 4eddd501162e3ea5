from __future__ import annotations

import dataclasses
import json

import pytest

from gspn_core.errors import GspnError
from gspn_core.runs.archive import Archive, owner_of
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.records import check_record, check_settings, read_json, valid_text
from gspn_core.runs.reducer import apply_event
from gspn_core.runs.run import RunView, StageView
from gspn_core.runs.store import DamagedRecord, Store
from gspn_core.settings import FIELD_NAMES, Settings

ID = "aB3_-aB3_-aB3_-aB3_-aB"
WRONG = (None, "x", -1, 1e13, 10**30, float("inf"), float("nan"), [], {}, [1], "\ud800", True, 3.5)


@pytest.fixture
def view(events):
    view = RunView(id=ID, created=5.0)
    for event in events[:9]:
        view = apply_event(view, event)
    return view


@pytest.fixture
def poisoned(tmp_path, view):
    """Return a function: a store with one record in which the value at a path was replaced."""
    store = Store(tmp_path / "jobs")
    store.open_job(ID)
    store.write_job(view)
    path = store.folder / ID / "job.json"
    good = path.read_text()

    def write(name: str, value) -> Store:
        record = json.loads(good)
        *inner, last = name.split(".")
        place = record["view"]
        for key in inner:
            place = place[int(key)] if key.isdigit() else place[key]
        place[last] = value
        path.write_text(json.dumps(record))
        return store

    return write


def names() -> list[str]:
    views = [field.name for field in dataclasses.fields(RunView)]
    stages = [f"stages.0.{field.name}" for field in dataclasses.fields(StageView)]
    return [*views, *stages, *(f"settings.{name}" for name in FIELD_NAMES)]


@pytest.mark.parametrize("name", names())
def test_whatever_a_record_holds_is_refused_or_can_be_sent(poisoned, name):
    for value in WRONG:
        store = poisoned(name, value)
        try:
            read = store.read_job(ID)
        except DamagedRecord:
            continue
        json.dumps(read.to_dict(), allow_nan=False, ensure_ascii=False).encode()
        check_record(read)
        assert read.is_final


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", "x"),
        ("version", None),
        ("created", 1e13),
        ("elapsed_seconds", 1e13),
        ("settings.target", "x"),
        ("settings.mixer", [1]),
        ("stage", 9),
        ("stages.0.key", [1]),
    ],
)
def test_a_server_starts_with_a_damaged_record_and_logs_which(poisoned, make_engine, caplog, name, value):
    store = poisoned(name, value)
    engine = make_engine()
    jobs = RunQueue(engine.run, store.folder, plan=engine.plan)
    try:
        assert ID in caplog.text and "is damaged" in caplog.text
        with pytest.raises(GspnError, match="is damaged; run it again"):
            jobs.view(ID)
        *_, view = jobs.follow(jobs.submit(Settings(prompt="a lake", target=64), visitor="anna"))
        assert view.state == "done" and len(jobs.history("anna")) == 1
    finally:
        jobs.close()


def test_a_note_with_half_a_character_is_kept_as_text(tmp_path, view):
    store, anna = Store(tmp_path / "jobs"), owner_of("anna")
    archive = Archive(store)
    archive.open(view, anna)
    store.write_job(view)
    archive.annotate(ID, anna, note="good \ud800 and \ud83d\ude00")
    for kept in (archive, Archive(store)):
        (run,) = kept.history(anna, limit=1)
        assert run.note == "good \ufffd and \U0001f600"


def test_a_note_that_was_stored_with_half_a_character_breaks_no_list(tmp_path, view):
    store, anna = Store(tmp_path / "jobs"), owner_of("anna")
    store.open_job(ID)
    store.write_job(view)
    store.write_about(ID, {"owner": anna, "note": "a\ud800"})
    (run,) = Archive(store).history(anna, limit=1)
    assert run.note == "a\ufffd"
    store.write_about(ID, {"owner": None, "note": 3, "favourite": "yes"})
    entry = Archive(store)._entries[ID]
    assert (entry.owner, entry.note, entry.favourite) == ("", "", False)


def test_text_is_joined_where_it_can_be_and_marked_where_not(tmp_path):
    assert valid_text("\ud83d\ude00") == "\U0001f600"
    assert valid_text("\ude00\ud83d") == "\ufffd\ufffd"
    (tmp_path / "a.json").write_text('{"\\ud800": ["\\udfff", 1]}')
    assert read_json(tmp_path / "a.json") == {"\ufffd": ["\ufffd", 1]}


def test_settings_that_this_version_does_not_know_are_left_alone():
    check_settings({**Settings(prompt="a").to_dict(), "of_another_version": {"a": 1}})
