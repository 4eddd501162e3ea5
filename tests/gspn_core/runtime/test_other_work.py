"""Processor time comes from a fake clock; the real one is read in one test."""

import psutil
import pytest

import gspn_core.runtime.other_work as module
from gspn_core.runtime.other_work import OtherWork


@pytest.fixture
def clock(monkeypatch):
    """Return the fake times: seconds of wall time, of all busy cores and of this process."""
    now = {"wall": 0.0, "busy": 100.0, "own": 50.0}
    fields = type(psutil.cpu_times())

    def cpu_times():
        values = dict.fromkeys(fields._fields, 0.0)
        return fields(**{**values, "user": now["busy"], "idle": 1e6 + now["wall"]})

    monkeypatch.setattr(module.psutil, "cpu_times", cpu_times)
    monkeypatch.setattr(module.psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(module.time, "process_time", lambda: now["own"])

    def go_on(*, wall, busy, own):
        now["wall"] += wall
        now["busy"] += busy
        now["own"] += own

    return go_on


def test_the_work_of_this_process_is_not_other_work(clock):
    work = OtherWork(4)
    clock(wall=2.0, busy=8.0, own=8.0)
    assert work.cores == 0.0 and not work.is_in_the_way


def test_a_neighbour_is_in_the_way_where_no_core_is_left_for_every_thread(clock):
    four, two = OtherWork(4), OtherWork(2)
    clock(wall=2.0, busy=8.0, own=6.0)
    assert four.cores == pytest.approx(1.0)
    assert four.is_in_the_way and not two.is_in_the_way


def test_it_counts_from_its_start_on(clock):
    work = OtherWork(4)
    clock(wall=2.0, busy=8.0, own=0.0)
    work.start()
    clock(wall=1.0, busy=4.1, own=4.0)
    assert work.cores == pytest.approx(0.1) and not work.is_in_the_way


def test_this_machine_answers():
    assert 0.0 <= OtherWork(1).cores < 1e6
