import dataclasses
import pickle

import pytest
import torch

import gspn_core.cascade.benchmark as module
from gspn_core.attention.adapter import self_attentions
from gspn_core.engine import Engine
from gspn_core.models.catalog import find_card
from gspn_core.planning.types import Size


@pytest.fixture
def engine(tiny_model):
    return Engine(tiny_model)


def test_every_mixer_is_measured_at_every_stage_the_small_ones_first(engine):
    told = list(engine.calibrate(limit_seconds=60.0))
    card = engine.model.card
    assert [(t.size, t.mixer) for t in told] == [
        (Size(px, px), mixer) for px in card.targets for mixer in card.mixers
    ]
    for calibrated in told:
        assert calibrated.call_seconds > 0 and calibrated.tail_seconds > 0 and calibrated.peak_bytes > 0
        assert (calibrated.head_seconds > 0) == (calibrated.size.height > card.base_px)
    assert pickle.loads(pickle.dumps(told)) == told


def test_the_unet_is_left_as_it_was(engine):
    before = self_attentions(engine.model.pipeline.unet)
    processors = [layer.processor for layer in before.values()]
    list(engine.calibrate())
    after = self_attentions(engine.model.pipeline.unet)
    assert list(after.values()) == list(before.values())
    assert [layer.processor for layer in after.values()] == processors


def test_nothing_is_measured_where_parts_lie_on_the_host(tiny_model):
    # To torch "cpu:0" is another device than "cpu", where the parts are.
    away = dataclasses.replace(tiny_model, device=torch.device("cpu", 0))
    assert list(module.calibrate(away, lambda: False, limit_seconds=60.0)) == []


def test_it_ends_as_soon_as_it_is_asked_to(engine):
    told = []
    for calibrated in engine.calibrate(lambda: len(told) >= 3):
        told.append(calibrated)
    assert len(told) == 3


def test_what_would_take_too_long_is_left_out(engine, monkeypatch):
    cost = {"gspn": 1.0, "attention": 1.0, "neighborhood": 1.0, "linear": 1.0}
    seconds = []

    def call_seconds(model, size, _conditioning, _clock):
        adapter = next((name for name, a in model.adapters.items() if a.is_injected), "attention")
        seconds.append((adapter, size.height))
        return cost[adapter] * (size.height / 64) ** (4 if adapter == "attention" else 2)

    monkeypatch.setattr(module, "_call_seconds", call_seconds)
    monkeypatch.setattr(module, "_autoencoder_seconds", lambda *_: (0.1, 0.1))
    told = {(t.mixer, t.size.height) for t in engine.calibrate(limit_seconds=20.0)}
    assert ("gspn", 256) in told and ("gspn", 512) not in told
    assert ("attention", 128) in told and ("attention", 256) not in told


def test_what_is_known_is_not_measured_again(engine):
    told = list(engine.calibrate(limit_seconds=60.0))
    other = Engine(engine.model)
    other.take_paces(pace for pace in engine.paces if (pace.mixer, pace.height) != ("gspn", 128))
    again = list(other.calibrate(limit_seconds=60.0))
    assert [(t.mixer, t.size.height) for t in again] == [("gspn", 128)]
    assert {(p.mixer, p.height) for p in other.paces} == {(t.mixer, t.size.height) for t in told}


def test_it_gives_up_in_the_middle_of_a_piece(engine):
    asked = []

    def stop_at_the_third_block():
        asked.append(None)
        return len(asked) > 3

    assert list(engine.calibrate(stop_at_the_third_block, limit_seconds=60.0)) == []
    vae, unet = engine.model.pipeline.vae, engine.model.pipeline.unet
    assert not any(module._forward_pre_hooks for part in (vae, unet) for module in part.modules())


def test_a_piece_that_takes_far_too_long_is_given_up_and_told_by_nobody(engine):
    assert list(engine.calibrate(limit_seconds=1e-9)) == []


def test_a_stage_without_the_memory_for_its_fastest_way_is_left_out(tiny_model):
    shapes = find_card("world").shapes
    model = dataclasses.replace(tiny_model, card=dataclasses.replace(tiny_model.card, shapes=shapes))
    assert list(Engine(model, memory_bytes=1).calibrate(limit_seconds=60.0)) == []
