from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from gspn_core.errors import ModelUnavailable, Stopped
from gspn_core.events import ModelProgress
from gspn_core.planning.plan import make_plan
from gspn_core.serving.engine_host import EngineHost
from gspn_core.settings import Settings


def test_a_model_that_is_dropped_stops_loading(toy_card) -> None:
    begun, go, ended = threading.Event(), threading.Event(), []

    def load(on_progress):
        begun.set()
        go.wait(30)
        try:
            on_progress(ModelProgress(doing="read", part="unet", done_bytes=1, total_bytes=2))
        finally:
            ended.append(True)

    host = EngineHost(toy_card, load)
    host.start()
    assert begun.wait(30)
    host.drop()
    go.set()
    assert host.wait(30) and ended == [True]
    assert isinstance(host.error, Stopped)
    assert host.weights(Settings(prompt="a toy")) is None


def test_a_run_waits_for_the_model(toy_card, toy_engine) -> None:
    go = threading.Event()

    def load(_on_progress):
        go.wait(30)
        return toy_engine, "a machine"

    host = EngineHost(toy_card, load)
    host.start()
    assert host.machine() is None
    threading.Timer(0.1, go.set).start()
    assert list(host.run("settings", lambda: False)) == ["settings", False]
    assert host.machine() == "a machine"


def test_a_run_can_be_stopped_while_the_model_is_loaded(toy_card) -> None:
    host = EngineHost(toy_card, pytest.fail)
    with pytest.raises(Stopped):
        list(host.run("settings", lambda: True))


@pytest.mark.parametrize("error", [ModelUnavailable("no weights."), RuntimeError("bad magic")])
def test_a_run_on_a_model_that_failed_to_load_says_so(error, toy_card) -> None:
    def load(_on_progress):
        raise error

    host = EngineHost(toy_card, load)
    host.start()
    with pytest.raises(ModelUnavailable, match=str(error)):
        list(host.run("settings", lambda: False))


def test_a_plan_needs_no_model(toy_card) -> None:
    host = EngineHost(toy_card, pytest.fail)
    settings = Settings(prompt="a toy", mixer="gspn", seed=1)
    assert host.plan(settings) == make_plan(settings, toy_card)


def test_on_zerogpu_a_gpu_is_requested_for_the_planned_seconds(toy_card, toy_engine) -> None:
    requested = []

    def decorator(*, duration):
        def decorate(task):
            def call(*arguments):
                requested.append(duration(*arguments))
                yield from task(*arguments)

            return call

        return decorate

    host = EngineHost(
        toy_card, lambda _: (toy_engine, "a GPU"), planned_seconds=lambda _: 40.0, zerogpu=decorator
    )
    host.load()
    assert list(host.run("settings", lambda: False)) == ["settings", False]
    assert requested == [80]


def test_each_timing_that_is_measured_is_handed_on(toy_card, toy_engine, tmp_path) -> None:
    measured, arrived, timings = SimpleNamespace(seconds=1.0), threading.Event(), []

    class Measured(type(toy_engine)):
        pace_key, paces = "here", ()

        def take_paces(self, _paces) -> None:
            pass

        def calibrate(self, _should_stop, **_limits):
            yield measured

    def take(timing) -> None:
        timings.append(timing)
        arrived.set()

    engine = Measured(toy_card)
    host = EngineHost(toy_card, lambda _: (engine, "here"), on_timing=take, timings_folder=tmp_path)
    host.load()
    assert arrived.wait(30) and timings == [measured]
    host.drop()
