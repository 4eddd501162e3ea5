from __future__ import annotations

import dataclasses
import json

import pytest

from gspn_core.planning.timing import StageTiming
from gspn_core.runs.timings import Timings

OTHER = "other key"


def timing(
    px: int = 64, mixer: str = "gspn", seconds: float = 0.5, source: str = "measurement"
) -> StageTiming:
    return StageTiming(
        mixer=mixer,
        height=px,
        width=px,
        encode_seconds=0.1,
        step_seconds=seconds,
        decode_seconds=0.2,
        peak_bytes=7_000,
        source=source,
    )


@pytest.fixture
def open_timings(tmp_path):
    """Return a function: the timings of a folder under a key."""

    def opened(key: str = "a key", *, model: str = "toy 1", machine: str = "CPU, 2 cores") -> Timings:
        timings = Timings(tmp_path)
        timings.open(key, model=model, machine=machine)
        return timings

    return opened


@pytest.fixture
def file(tmp_path):
    return tmp_path / "timings" / "a key.json"


def test_timings_are_there_after_a_restart_under_their_key_only(open_timings):
    timings = open_timings()
    for px in (128, 64):
        timings.add(timing(px))
    open_timings(OTHER).add(timing(256))
    assert open_timings().all() == timings.all()
    assert [(one.height, one.when > 0) for one in open_timings().all()] == [(128, True), (64, True)]
    assert [one.height for one in open_timings(OTHER).all()] == [256]


@pytest.mark.parametrize("order", [(0.5, 0.25), (0.25, 0.5)])
def test_of_measurements_the_fastest_counts_and_of_runs_the_newest(open_timings, order):
    timings = open_timings()
    for seconds in order:
        for source in ("measurement", "run"):
            timings.add(timing(seconds=seconds, source=source))
    found = {one.source: one for one in timings.all()}
    assert (found["measurement"].step_seconds, found["measurement"].count) == (0.25, 2)
    assert (found["run"].step_seconds, found["run"].count) == (order[-1], 2)


def test_before_it_is_opened_nothing_is_written_and_nothing_is_lost(tmp_path, file):
    timings = Timings(tmp_path)
    timings.add(timing())
    assert not list(tmp_path.iterdir()) and len(timings.all()) == 1
    timings.open("a key", model="toy 1", machine="CPU")
    assert len(json.loads(file.read_text())["timings"]) == 1
    assert timings.machine == "CPU"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 9, "timings": []}', pytest.param("[" * 100_000, id="deep")],
)
def test_a_file_that_cannot_be_read_is_set_aside_and_begun_again(open_timings, file, text):
    file.parent.mkdir()
    file.write_text(text)
    timings = open_timings()
    assert timings.all() == ()
    timings.add(timing())
    assert len(json.loads(file.read_text())["timings"]) == 1
    assert file.with_name("a key.json.set-aside").read_text() == text


@pytest.mark.parametrize(
    "wrong",
    [
        3,
        {"mixer": "gspn"},
        {"mixer": "magic"},
        {"step_seconds": "1"},
        {"step_seconds": 0},
        {"step_seconds": float("nan")},
        {"peak_bytes": -1},
        {"source": "hearsay"},
        {"further": 1},
    ],
)
def test_one_bad_entry_is_set_aside_and_the_others_stay(open_timings, file, wrong):
    open_timings().add(timing())
    content = json.loads(file.read_text())
    good = content["timings"][0]
    bad = wrong if wrong == 3 or wrong == {"mixer": "gspn"} else {**good, "height": 128, **wrong}
    file.write_text(json.dumps({**content, "timings": [bad, good]}))
    assert [one.height for one in open_timings().all()] == [64]
    assert len(json.loads(file.with_name("a key.json.set-aside").read_text())["timings"]) == 2
    assert len(json.loads(file.read_text())["timings"]) == 1


def test_only_the_newest_files_are_kept(open_timings, file):
    for number in range(20):
        open_timings(f"key {number}").add(timing())
    names = {path.name for path in file.parent.iterdir()}
    assert len(names) == 16 and "key 19.json" in names


def test_a_folder_that_cannot_be_written_keeps_them_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    timings = Timings(tmp_path / "file")
    timings.open("a key", model="toy 1", machine="CPU")
    timings.add(timing())
    assert len(timings.all()) == 1


def old_point(model: str = "toy 1", **values) -> dict:
    kept = {"machine": "CPU, 2 cores", "mixer": "gspn", "height": 64, "width": 64, "call_seconds": 0.25}
    kept |= {"peak_bytes": 9_000, "memory_kind": "process", "when": 1e9, "source": "measured"}
    return {"model": model, **kept, **values}


def test_points_of_an_earlier_version_are_read_once_and_others_are_left(open_timings, tmp_path):
    old = tmp_path / ".measured.json"
    points = [
        old_point(),
        old_point("another 2"),
        old_point(height=128, source="run"),
        old_point(mixer="magic"),
    ]
    old.write_text(json.dumps({"format": 1, "points": points}))
    (tmp_path / "paces.json").write_text("{}")
    first, second = sorted(open_timings().all(), key=lambda one: one.height)
    assert dataclasses.asdict(first) == {
        **dataclasses.asdict(timing(seconds=0.25)),
        "encode_seconds": None,
        "decode_seconds": None,
        "peak_bytes": 9_000,
        "when": 1e9,
    }
    assert (second.height, second.source) == (128, "run")
    assert [point["model"] for point in json.loads(old.read_text())["points"]] == ["another 2"]
    assert not (tmp_path / "paces.json").exists()
    assert len(open_timings("another key", model="another 2").all()) == 1
    assert not old.exists() and len(open_timings().all()) == 2
    # It has no decoding time, so the next measurement replaces it in any case.
    timings = open_timings()
    timings.add(timing(seconds=0.3))
    assert {one.step_seconds for one in timings.all() if one.height == 64} == {0.3}
