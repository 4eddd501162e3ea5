from __future__ import annotations

import dataclasses
import json

import pytest

from gspn_core.events import Calibrated
from gspn_core.planning.types import MemoryOptions, Size
from gspn_core.runs.estimate import Rate
from gspn_core.runs.measured import Measured
from gspn_core.runs.reducer import apply_event, planned
from gspn_core.runs.run import RunView

RATE = Rate(head_seconds=0.1, call_seconds=0.25, tail_seconds=0.2)


def calibrated(px: int = 64, mixer: str = "gspn", seconds: float = 0.5) -> Calibrated:
    return Calibrated(
        mixer=mixer,
        size=Size(px, px),
        head_seconds=0.0,
        call_seconds=seconds,
        tail_seconds=0.1,
        peak_bytes=7_000,
        memory_kind="process",
    )


@pytest.fixture
def open_measured(tmp_path):
    """Return a function: the measured points of a folder, for a model on a machine."""
    return lambda model="toy", machine="CPU, 2 cores": Measured(
        tmp_path, model=model, machine=lambda: machine
    )


@pytest.fixture
def stages(plan, events):
    """Return the planned stages with how they ended."""
    view = planned(RunView(id="j" * 22, created=0.0), plan)
    for event in events:
        view = apply_event(view, event, elapsed_seconds=1.0)
    return list(zip(plan.stages, view.stages, strict=True))


def test_what_is_measured_is_there_after_a_restart_the_small_sizes_first(open_measured):
    measured = open_measured()
    for px in (128, 64):
        for mixer in ("gspn", "attention"):
            measured.take(calibrated(px, mixer))
    again = open_measured().points()
    assert again == measured.points()
    assert [(p.side_px, p.mixer) for p in again] == [
        (64.0, "attention"),
        (64.0, "gspn"),
        (128.0, "attention"),
        (128.0, "gspn"),
    ]
    assert all(point.source == "measured" for point in again)


@pytest.mark.parametrize("order", [(0.5, 0.25), (0.25, 0.5)])
def test_of_each_size_and_mixer_the_fastest_counts(open_measured, order):
    measured = open_measured()
    for seconds in order:
        measured.take(calibrated(seconds=seconds))
    (point,) = measured.points()
    assert point.call_seconds == 0.25


def test_another_model_or_machine_has_points_of_its_own(open_measured):
    open_measured().take(calibrated())
    open_measured(machine="a card").take(calibrated(seconds=0.01))
    assert [p.call_seconds for p in open_measured().points()] == [0.5]
    assert [p.call_seconds for p in open_measured(machine="a card").points()] == [0.01]
    assert open_measured(model="another").points() == ()


def test_nothing_is_kept_of_a_machine_that_is_not_known_yet(open_measured):
    open_measured(machine=None).take(calibrated())
    assert open_measured().points() == open_measured(machine=None).points() == ()


def test_a_stage_of_a_run_is_kept_with_its_pace_and_its_peak(open_measured, stages):
    measured = open_measured()
    stage, view = stages[0]
    measured.take_stage(stage, view, RATE)
    (point,) = measured.points()
    assert (point.source, point.mixer, point.call_seconds) == ("run", stage.settings.mixer, 0.25)
    assert (point.height, point.width, point.peak_bytes) == (view.height, view.width, view.peak_bytes)


def test_a_stage_that_ran_a_slower_way_or_one_step_teaches_nothing(open_measured, stages):
    measured = open_measured()
    stage, view = stages[0]
    slower = dataclasses.replace(stage, choices=MemoryOptions(serial_guidance=True))
    measured.take_stage(slower, view, RATE)
    measured.take_stage(stage, dataclasses.replace(view, retries=("serial_guidance",)), RATE)
    measured.take_stage(dataclasses.replace(stage, steps=1), view, RATE)
    measured.take_stage(stage, dataclasses.replace(view, peak_bytes=None), RATE)
    assert measured.points() == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 9, "points": []}',
        '{"format": 1, "points": [{"model": "toy"}, 3]}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_file_that_is_not_ours_is_no_points_and_is_written_anew(open_measured, tmp_path, text):
    (tmp_path / ".measured.json").write_text(text)
    measured = open_measured()
    assert measured.points() == ()
    measured.take(calibrated())
    assert len(json.loads((tmp_path / ".measured.json").read_text())["points"]) == 1


def test_a_folder_that_cannot_be_written_keeps_the_points_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    measured = Measured(tmp_path / "file", model="toy", machine=lambda: "CPU")
    measured.take(calibrated())
    assert len(measured.points()) == 1
