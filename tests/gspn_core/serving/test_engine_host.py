from __future__ import annotations

import dataclasses
import threading

import pytest

from gspn_core.errors import ModelUnavailable, Stopped
from gspn_core.events import ModelProgress, StageTimed
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.runs.timings import Timings
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
    assert host.weights(host.plan(Settings(prompt="a toy"))) is None


def test_a_run_waits_for_the_model(toy_card, toy_engine) -> None:
    go = threading.Event()

    def load(_on_progress):
        go.wait(30)
        return toy_engine, "a machine"

    host = EngineHost(toy_card, load)
    host.start()
    assert host.machine() is None
    threading.Timer(0.1, go.set).start()
    assert list(host.run("plan", lambda: False)) == ["plan", False]
    assert host.machine() == "a machine"


def test_a_run_can_be_stopped_while_the_model_is_loaded(toy_card) -> None:
    host = EngineHost(toy_card, pytest.fail)
    with pytest.raises(Stopped):
        list(host.run("plan", lambda: True))


@pytest.mark.parametrize("error", [ModelUnavailable("no weights."), RuntimeError("bad magic")])
def test_a_run_on_a_model_that_failed_to_load_says_so(error, toy_card) -> None:
    def load(_on_progress):
        raise error

    host = EngineHost(toy_card, load)
    host.start()
    with pytest.raises(ModelUnavailable, match=str(error)):
        list(host.run("plan", lambda: False))


def test_a_plan_needs_no_model(toy_card) -> None:
    host = EngineHost(toy_card, pytest.fail)
    settings = Settings(prompt="a toy", mixer="gspn", seed=1)
    assert host.plan(settings) == make_plan(settings, toy_card)


def test_a_plan_made_before_the_model_was_there_is_made_again_with_it(toy_card, toy_engine) -> None:
    settings = Settings(prompt="a toy", seed=1)
    measured = dataclasses.replace(toy_engine.plan(settings), budget_bytes=10**9)
    host = EngineHost(toy_card, lambda _on_progress: (toy_engine, "a machine"))
    early = host.plan(settings)
    assert early.budget_bytes is None
    with pytest.raises(Stopped):
        host.final_plan(early, lambda: True)
    toy_engine.plan = lambda _settings: measured
    host.start()
    assert host.final_plan(early, lambda: False) is measured
    other = dataclasses.replace(measured, budget_bytes=10**8)
    assert host.final_plan(other, lambda: False) is other


def test_a_plan_whose_memory_is_gone_is_made_again(toy_card, toy_engine) -> None:
    planned = dataclasses.replace(toy_engine.plan(Settings(prompt="a toy", seed=1)), budget_bytes=10**9)
    smaller = dataclasses.replace(planned, budget_bytes=10**8)
    toy_engine.plan, toy_engine.still_fits = lambda _settings: smaller, lambda plan: plan is smaller
    host = EngineHost(toy_card, lambda _on_progress: (toy_engine, "a machine"))
    host.load()
    assert host.final_plan(planned, lambda: False) is smaller
    assert host.final_plan(smaller, lambda: False) is smaller


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
    assert list(host.run("plan", lambda: False)) == ["plan", False]
    assert requested == [80]


def test_a_loaded_engine_knows_what_was_timed_before_and_is_measured(toy_card, toy_engine, tmp_path) -> None:
    timing = StageTiming(
        mixer="gspn", height=64, width=64, encode_seconds=0.1, step_seconds=0.2, decode_seconds=0.3, when=1.0
    )

    class Measurable(type(toy_engine)):
        timing_key, timings = "here", tuple

        def measure(self, _should_stop, *, every_mixer):
            yield StageTimed(timing=timing), every_mixer

    def hosted() -> tuple[EngineHost, Measurable, Timings, list]:
        engine, timings, measurable = Measurable(toy_card), Timings(tmp_path), []
        host = EngineHost(
            toy_card,
            lambda _: (engine, "a CPU"),
            timings=timings,
            on_measurable=lambda: measurable.append(True),
        )
        with pytest.raises(ModelUnavailable, match="still being loaded"):
            list(host.measure(lambda: False, every_mixer=True))
        host.load()
        return host, engine, timings, measurable

    host, engine, timings, measurable = hosted()
    assert measurable == [True] and engine.timings() == ()
    assert list(host.measure(lambda: False, every_mixer=True)) == [(StageTimed(timing=timing), True)]
    timings.add(timing)
    _, later, timings, _ = hosted()
    assert later.timings() == (timing,) and timings.machine == "a CPU"


def test_an_engine_that_cannot_be_measured_is_not(toy_card, toy_engine, tmp_path) -> None:
    measurable = []
    host = EngineHost(
        toy_card,
        lambda _: (toy_engine, "a CPU"),
        timings=Timings(tmp_path),
        on_measurable=lambda: measurable.append(True),
    )
    host.load()
    assert host.error is None and not measurable
