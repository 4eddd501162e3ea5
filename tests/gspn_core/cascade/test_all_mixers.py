import dataclasses

import pytest

import gspn_core.cascade.all_mixers as module
from gspn_core.attention.adapter import self_attentions
from gspn_core.cascade.all_mixers import with_all_mixers
from gspn_core.engine import Engine

ALL = {"gspn", "attention", "neighborhood", "linear"}


def test_mixers_without_weights_are_added_and_the_models_own_stay(tiny_model):
    own = dict(tiny_model.adapters)
    poorer = dataclasses.replace(
        tiny_model, adapters={}, card=dataclasses.replace(tiny_model.card, mixers=("attention",))
    )
    whole, weights = with_all_mixers(poorer)
    assert whole.card.mixers[0] == "attention" and set(whole.card.mixers) == ALL
    assert weights == sum(
        p.numel() * p.element_size() for adapter in whole.adapters.values() for p in adapter.parameters()
    )
    assert weights > 0 and poorer.adapters == {} and poorer.card.mixers == ("attention",)
    kept, _ = with_all_mixers(tiny_model)
    assert all(kept.adapters[name] is adapter for name, adapter in own.items())


def test_without_the_memory_for_them_none_are_added(tiny_model, monkeypatch):
    monkeypatch.setattr(module, "free_host_bytes", lambda: 1_000)
    poorer = dataclasses.replace(
        tiny_model, adapters={}, card=dataclasses.replace(tiny_model.card, mixers=("attention",))
    )
    whole, weights = with_all_mixers(poorer)
    assert (set(whole.card.mixers), weights) == ({"attention", "neighborhood"}, 0)


@pytest.mark.usefixtures("quiet_machine", "short_turns")
def test_all_mixers_are_measured_and_the_model_is_left_as_it_was(tiny_model):
    card = dataclasses.replace(tiny_model.card, max_target_px=128)
    engine = Engine(dataclasses.replace(tiny_model, card=card))
    before, mixers = self_attentions(tiny_model.pipeline.unet), tiny_model.card.mixers
    timings = [event.timing for event in engine.measure(every_mixer=True, limit_seconds=60.0)]
    assert {timing.mixer for timing in timings} == ALL
    assert {timing.height for timing in timings if timing.mixer == "linear"} == {64, 128}
    assert list(self_attentions(tiny_model.pipeline.unet).values()) == list(before.values())
    assert engine.model.card.mixers == mixers
