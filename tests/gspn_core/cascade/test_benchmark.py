import dataclasses
import math
import pickle

import pytest
import torch

import gspn_core.cascade.benchmark as module
from gspn_core.attention.adapter import self_attentions
from gspn_core.cascade.benchmark import Figures, Piece, Stopwatch, measure_stages
from gspn_core.engine import Engine
from gspn_core.events import StageNotTimed
from gspn_core.models.catalog import find_card
from gspn_core.planning.types import Size
from gspn_core.runtime.other_work import OtherWork

pytestmark = pytest.mark.usefixtures("quiet_machine", "short_turns")


@pytest.fixture
def engine(tiny_model):
    """Return an engine of three targets, which are enough for a growth to be expected to go on."""
    card = dataclasses.replace(tiny_model.card, max_target_px=256)
    return Engine(dataclasses.replace(tiny_model, card=card))


def measured(engine, *arguments, **options):
    return [event.timing for event in engine.measure(*arguments, **options)]


def stopwatch(model, should_stop=lambda: False, limit_seconds=60.0) -> Stopwatch:
    return Stopwatch(model, should_stop, limit_seconds)


def test_every_mixer_is_measured_at_every_stage_the_small_ones_first(engine):
    timings = measured(engine, limit_seconds=60.0)
    card = engine.model.card
    assert [(t.height, t.width, t.mixer) for t in timings] == [
        (px, px, mixer) for px in card.targets for mixer in card.mixers
    ]
    for timing in timings:
        seconds = timing.encode_seconds, timing.step_seconds, timing.decode_seconds
        assert min(seconds) > 0 and timing.peak_bytes > 0
        assert timing.source == "measurement" and timing.when > 0
    assert pickle.loads(pickle.dumps(timings)) == timings


def test_a_target_that_the_models_ladder_leaves_out_is_measured_too(tiny_model):
    card = dataclasses.replace(tiny_model.card, ladder="64 256", max_target_px=256)
    engine = Engine(dataclasses.replace(tiny_model, card=card))
    heights = {timing.height for timing in measured(engine, limit_seconds=60.0)}
    assert heights == {64, 128, 256}


def test_the_unet_is_left_as_it_was(engine):
    before = self_attentions(engine.model.pipeline.unet)
    processors = [layer.processor for layer in before.values()]
    measured(engine)
    after = self_attentions(engine.model.pipeline.unet)
    assert list(after.values()) == list(before.values())
    assert [layer.processor for layer in after.values()] == processors


def test_nothing_is_measured_where_parts_are_on_the_host(tiny_model):
    # To torch "cpu:0" is another device than "cpu", where the parts are.
    away = dataclasses.replace(tiny_model, device=torch.device("cpu", 0))
    assert list(measure_stages(away, lambda: False, limit_seconds=60.0)) == []


def test_it_ends_as_soon_as_it_is_asked_to(engine):
    timings = []
    for event in engine.measure(lambda: len(timings) >= 3):
        timings.append(event.timing)
    card = engine.model.card
    assert [timing.height for timing in timings] == [card.base_px] * len(card.mixers)


def test_what_would_take_too_long_is_left_out(tiny_model, monkeypatch):
    engine = Engine(tiny_model)

    def times(_stopwatch, pieces):
        def cost(name: str) -> float:
            return side**4 if name == "attention" else 0.1 if name in ("encode", "decode") else side**2

        side = next(sides) / 64
        return {name: Figures(cost(name)) for name in pieces}

    sides = iter(engine.model.card.targets)
    monkeypatch.setattr(Stopwatch, "times", times)
    found = {(timing.mixer, timing.height) for timing in measured(engine, limit_seconds=20.0)}
    assert ("gspn", 256) in found and ("gspn", 512) not in found
    assert ("attention", 128) in found and ("attention", 256) not in found


def test_what_was_measured_is_not_measured_again_but_what_runs_took_is(engine):
    timings = measured(engine, limit_seconds=60.0)

    def known(timing):
        run = dataclasses.replace(timing, source="run")
        return run if (timing.mixer, timing.height) == ("gspn", 128) else timing

    engine.timings = lambda: [known(timing) for timing in timings]
    again = measured(engine, limit_seconds=60.0)
    assert [(timing.mixer, timing.height) for timing in again] == [("gspn", 128)]


def test_it_gives_up_in_the_middle_of_a_piece(engine):
    asked = []

    def stop_at_the_third_block():
        asked.append(None)
        return len(asked) > 3

    assert measured(engine, stop_at_the_third_block, limit_seconds=60.0) == []
    vae, unet = engine.model.pipeline.vae, engine.model.pipeline.unet
    assert not any(part._forward_pre_hooks for whole in (vae, unet) for part in whole.modules())


def test_a_piece_that_takes_far_too_long_is_given_up_without_a_figure(engine):
    assert measured(engine, limit_seconds=1e-9) == []


def test_a_stage_without_the_memory_for_its_fastest_options_is_left_out(tiny_model):
    shapes = find_card("world").shapes
    model = dataclasses.replace(tiny_model, card=dataclasses.replace(tiny_model.card, shapes=shapes))
    assert measured(Engine(model, memory_bytes=1), limit_seconds=60.0) == []


def test_pieces_are_timed_alternately_and_each_counts_with_its_least(tiny_model, monkeypatch):
    order, clock = [], [0.0]
    # The first round warms up; one later round is slowed down as a whole.
    took = {"a": iter([9.0, 1.0, 5.0, 1.2]), "b": iter([9.0, 2.0, 10.0, 1.8])}

    def work(name):
        def run():
            order.append(name)
            clock[0] += next(took[name])

        return Piece(run)

    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    found = stopwatch(tiny_model).times({"a": work("a"), "b": work("b")})
    assert order == ["a", "b"] * 4
    assert {name: figures.seconds for name, figures in found.items()} == {
        "a": pytest.approx(1.0),
        "b": pytest.approx(1.8),
    }


def test_what_is_slow_only_while_it_warms_up_is_timed_and_what_stays_slow_is_timed_once(
    tiny_model, monkeypatch
):
    clock, took = [0.0], {"a": [5.0, 1.0, 1.0, 1.0], "b": [5.0, 4.0]}

    def work(name):
        def run():
            clock[0] += took[name].pop(0)

        return Piece(run)

    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    found = stopwatch(tiny_model, limit_seconds=3.0).times({"a": work("a"), "b": work("b")})
    assert {name: figures.seconds for name, figures in found.items()} == {"a": 1.0, "b": 4.0}
    assert took == {"a": [], "b": []}


def test_a_round_during_which_the_machine_was_busy_is_discarded(tiny_model, monkeypatch):
    busy = iter([False, True, True, False, False])
    rounds = []

    def run():
        rounds.append(None)

    monkeypatch.setattr(OtherWork, "is_in_the_way", property(lambda _: next(busy)))
    found = stopwatch(tiny_model).times({"a": Piece(run)})
    # One to warm up, three that count and two that do not.
    assert len(rounds) == 1 + 3 + 2 and found["a"].seconds < math.inf


def test_a_busy_machine_is_said_instead_of_a_figure(engine, monkeypatch):
    monkeypatch.setattr(OtherWork, "is_in_the_way", True)
    (event,) = engine.measure(limit_seconds=60.0)
    side = engine.model.card.base_px
    assert event == StageNotTimed(size=Size(side, side))
