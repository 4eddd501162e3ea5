"""Measuring between runs, on an engine whose every piece waits until it is let go."""

from __future__ import annotations

import threading
import time

import pytest

from gspn_core.planning.types import Pace
from gspn_core.runs.calibration import FILE, Calibration, KeptPaces, Measurable
from gspn_core.settings import Settings

SETTINGS = Settings(prompt="a toy")


def pace(px: int, call_seconds: float = 0.5) -> Pace:
    return Pace(
        mixer="gspn",
        height=px,
        width=px,
        head_seconds=0.1,
        call_seconds=call_seconds,
        tail_seconds=0.2,
    )


class Engine:
    """Measures 64, 128 and 256 px, each once it is let go, and gives up in between as the real one does."""

    pace_key = "this machine"

    def __init__(self) -> None:
        self.known: dict[int, Pace] = {}
        self.let_go = threading.Semaphore(0)
        self.begun = threading.Event()
        self.at_work: list[str] = []

    @property
    def paces(self) -> tuple[Pace, ...]:
        return tuple(self.known.values())

    def take_paces(self, paces) -> None:
        self.known |= {one.height: one for one in paces}

    def calibrate(self, should_stop, *, limit_seconds):
        assert limit_seconds > 0
        for px in (64, 128, 256):
            if px in self.known:
                continue
            self._enter("calibrate")
            try:
                self.begun.set()
                while not self.let_go.acquire(timeout=0.005):
                    if should_stop():
                        return
                self.known[px] = pace(px)
            finally:
                self.at_work.remove("calibrate")
            yield self.known[px]

    def run(self, settings, _should_stop, **options):
        self._enter("run")
        try:
            yield settings
            yield options
            self.known[512] = pace(512)
        finally:
            self.at_work.remove("run")

    def _enter(self, name: str) -> None:
        assert self.at_work == []
        self.at_work.append(name)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def calibration(engine, tmp_path):
    made = Calibration(engine, tmp_path, rest_seconds=0.01)
    yield made
    made.close()


def test_the_engine_of_this_project_can_be_measured(tiny_model):
    from gspn_core.engine import Engine as Real

    assert isinstance(Real(tiny_model), Measurable)
    assert Real(tiny_model).pace_key == Real(tiny_model).pace_key


def test_what_is_measured_is_kept_and_a_second_start_measures_nothing(engine, calibration, tmp_path):
    engine.let_go.release(3)
    calibration.start()
    wait_for(lambda: calibration.measured is None)
    assert KeptPaces(tmp_path / FILE).read(engine.pace_key) == (pace(64), pace(128), pace(256))
    again = Engine()
    second = Calibration(again, tmp_path)
    second.start()
    wait_for(lambda: second.measured is None)
    assert again.paces == engine.paces and not again.begun.is_set()


def test_a_run_that_begins_while_a_piece_is_measured_waits_for_no_piece(engine, calibration):
    calibration.start()
    assert engine.begun.wait(20)
    # Nothing lets the piece go: the run begins because the measuring gives up.
    assert list(calibration.run(SETTINGS, lambda: False, finished=("a picture",))) == [
        SETTINGS,
        {"finished": ("a picture",)},
    ]
    engine.let_go.release(3)
    wait_for(lambda: calibration.measured is None)
    assert set(engine.known) == {64, 128, 256, 512}


def test_nothing_is_measured_while_a_run_goes_on(engine, calibration):
    events = calibration.run(SETTINGS, lambda: False)
    assert next(events) == SETTINGS
    engine.let_go.release(3)
    calibration.start()
    time.sleep(0.1)
    assert engine.known == {} and calibration.measured == 0
    events.close()
    wait_for(lambda: calibration.measured is None)
    assert set(engine.known) == {64, 128, 256}


def test_what_a_run_taught_is_kept(engine, calibration, tmp_path):
    list(calibration.run(SETTINGS, lambda: False))
    assert KeptPaces(tmp_path / FILE).read(engine.pace_key) == (pace(512),)


def test_a_breaking_engine_ends_the_measuring_and_no_run(engine, calibration, monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("out of something")

    monkeypatch.setattr(engine, "calibrate", broken)
    calibration.start()
    wait_for(lambda: calibration.measured is None)
    assert len(list(calibration.run(SETTINGS, lambda: False))) == 2


def test_another_machine_model_or_version_has_paces_of_its_own(tmp_path):
    kept = KeptPaces(tmp_path / FILE)
    kept.write("one", [pace(64)])
    kept.write("other", [pace(128, 9.0)])
    assert (kept.read("one"), kept.read("other"), kept.read("third")) == ((pace(64),), (pace(128, 9.0),), ())
    for number in range(20):
        kept.write(f"key {number}", [pace(64)])
    assert kept.read("one") == () and kept.read("key 19") == (pace(64),)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        pytest.param("[" * 100_000, id="deep"),
        '{"one": 3}',
        '{"one": [{"mixer": "gspn"}]}',
        '{"one": [{"mixer": "x", "height": 1, "width": 1, "head_seconds": 0, "call_seconds": 1,'
        ' "tail_seconds": 0}]}',
        '{"one": [{"mixer": "gspn", "height": 1, "width": 1, "head_seconds": 0, "call_seconds": "1",'
        ' "tail_seconds": 0}]}',
    ],
)
def test_a_damaged_file_is_read_as_none_and_written_anew(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    kept = KeptPaces(tmp_path / FILE)
    assert kept.read("one") == ()
    kept.write("one", [pace(64)])
    assert kept.read("one") == (pace(64),)


def test_each_piece_is_told_at_once(engine, tmp_path):
    told = []
    calibration = Calibration(engine, tmp_path, rest_seconds=0.01, told=told.append)
    calibration.start()
    try:
        engine.let_go.release(1)
        wait_for(lambda: [one.height for one in told] == [64])
        engine.let_go.release(2)
        wait_for(lambda: calibration.measured is None)
    finally:
        calibration.close()
    assert [one.height for one in told] == [64, 128, 256]
