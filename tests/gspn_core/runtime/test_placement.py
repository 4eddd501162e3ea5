"""Parts on the host are moved to the device when they are needed, and back.

The device is a second name of the CPU: torch distinguishes "cpu:0" from "cpu" like any two devices, and
computes on it as usual. The place of a part is recorded as it is moved.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gspn_core.cascade.walk import run_cascade
from gspn_core.engine import Engine
from gspn_core.errors import ModelUnavailable
from gspn_core.events import StageDone
from gspn_core.models.catalog import SDXL_CARD
from gspn_core.models.loading import load_model
from gspn_core.models.random_weights import write_random_model
from gspn_core.models.shapes import SDXL_SHAPES
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import Machine, MemoryOptions
from gspn_core.runtime.placement import HOST, at_hand, bytes_on_host, home_of
from gspn_core.settings import Settings

CARD = torch.device("cpu", 0)
SDXL = dataclasses.replace(SDXL_CARD, shapes=SDXL_SHAPES)
ASK = Settings(prompt="a b c", target=128, seed=3, num_inference_steps=2, mixer="gspn")


def lying_at(part, device):
    """Let a part record where it was moved to, starting at a device; return a function that undoes this."""
    cls = type(part)

    def to(self, *args, **kwargs):
        if args and isinstance(args[0], torch.device):
            vars(self)["lies_at"] = args[0]
            return self
        return cls.to(self, *args, **kwargs)

    members = {"device": property(lambda self: vars(self)["lies_at"]), "to": to}
    vars(part)["lies_at"] = device
    part.__class__ = type(cls.__name__, (cls,), {**members, "__module__": cls.__module__})

    def undo():
        part.__class__ = cls
        del vars(part)["lies_at"]

    return undo


@pytest.fixture
def placed(tiny_model):
    """Return a function that makes a model that computes on CARD and whose parts are at a home."""
    undos = []

    def place(home):
        model = dataclasses.replace(tiny_model, device=CARD)
        undos.extend(lying_at(part, home) for part in model.parts)
        return model

    yield place
    for undo in undos:
        undo()


def pictures(model, residency, settings=ASK):
    plan = make_plan(settings, model.card)
    choices = MemoryOptions(residency=residency)
    stages = tuple(dataclasses.replace(stage, choices=choices) for stage in plan.stages)
    with torch.inference_mode():
        events = list(run_cascade(model, dataclasses.replace(plan, stages=stages), lambda: False, None))
    return [np.asarray(event.image).astype(int) for event in events if isinstance(event, StageDone)]


def watch(model):
    """Record which parts are on the card whenever a part computes; return the records and the hooks."""
    pipeline, notes = model.pipeline, []
    work = {
        "text": pipeline.text_encoder,
        "text 2": pipeline.text_encoder_2,
        "unet": pipeline.unet,
        "refiner": model.refiner,
        "encode": pipeline.vae.encoder,
        "decode": pipeline.vae.decoder,
    }
    names = {id(pipeline.unet): "unet", id(model.refiner): "refiner", id(pipeline.vae): "vae"}

    def note(name):
        def hook(*_args, **_kwargs):
            there = {names.get(id(part), "text") for part in model.parts if part.device == CARD}
            notes.append((name, frozenset(there)))

        return hook

    return notes, [part.register_forward_pre_hook(note(name)) for name, part in work.items()]


@pytest.mark.parametrize("home", [HOST, CARD], ids=["host", "card"])
@pytest.mark.parametrize("residency", ["model", "group"])
def test_what_works_has_the_card_to_itself_and_all_goes_home(placed, tiny_model, residency, home):
    plain = pictures(tiny_model, "device")
    model = placed(home)
    notes, hooks = watch(model)
    try:
        drawn = pictures(model, residency)
    finally:
        for hook in hooks:
            hook.remove()
    # Layers are moved to the card one at a time where the UNet as a whole stays on the host.
    alone = {"unet"} if residency == "model" else set()
    seen = dict(notes)
    assert {name: seen[name] for name in ("unet", "encode", "decode")} == {
        "unet": alone,
        "encode": {"vae"},
        "decode": {"vae"},
    }
    assert all(there == seen[name] for name, there in notes)
    assert "text" in seen["text"] and (home == CARD or seen["text"] == {"text"})
    assert {part.device for part in model.parts} == {home}
    # Weights are random, so rounding differences grow through the layers, but no further than this.
    assert all(np.abs(one - other).max() <= 3 for one, other in zip(plain, drawn, strict=True))


@pytest.mark.parametrize("mixer", ["gspn", "linear"])
def test_a_mixer_is_on_the_card_as_a_whole_while_it_works(placed, tiny_model, mixer):
    model, notes, undos = placed(HOST), [], []
    for module in tiny_model.adapters[mixer].mixers.values():
        undos.append(lying_at(module, HOST))

        def noted(*args, module=module, **kwargs):
            notes.append(module.device)
            return type(module).forward(module, *args, **kwargs)

        module.forward = noted
    pictures(model, "group", dataclasses.replace(ASK, mixer=mixer))
    assert notes and set(notes) == {CARD}
    assert {module.device for module in tiny_model.adapters[mixer].mixers.values()} == {HOST}
    for module, undo in zip(tiny_model.adapters[mixer].mixers.values(), undos, strict=True):
        del module.forward
        undo()


def test_a_stage_that_fits_whole_has_every_part_on_the_card(placed):
    model = placed(HOST)
    notes, hooks = watch(model)
    pictures(model, "device")
    for hook in hooks:
        hook.remove()
    assert {there for name, there in notes if not name.startswith("text")} == {
        frozenset({"text", "unet", "refiner", "vae"})
    }
    assert {part.device for part in model.parts} == {HOST}


@pytest.mark.parametrize("residency", ["model", "group"])
def test_a_refiner_comes_with_the_unet_where_it_takes_part(placed, residency):
    model = placed(HOST)
    notes, hooks = watch(model)
    pictures(model, residency, dataclasses.replace(ASK, target=64, refiner="ensemble", refiner_start=0.5))
    for hook in hooks:
        hook.remove()
    together = {"unet", "refiner"} if residency == "model" else set()
    assert dict(notes)["refiner"] == dict(notes)["unet"] == together


def test_parts_go_home_when_a_stage_fails(placed):
    model = placed(HOST)
    unet, vae = model.pipeline.unet, model.pipeline.vae
    with pytest.raises(MemoryError), at_hand((unet,), (vae,), CARD):
        assert (unet.device, vae.device) == (CARD, HOST)
        raise MemoryError
    assert (unet.device, vae.device) == (HOST, HOST)


@pytest.mark.parametrize(
    ("budget", "host", "home"),
    [(24e9, 64e9, CARD), (8e9, 64e9, HOST), (2.5e9, 64e9, HOST), (8e9, 4e9, CARD)],
    ids=["all fits", "parts take turns", "layers take turns", "no room on the host"],
)
def test_the_planner_decides_where_parts_lie(monkeypatch, budget, host, home):
    machine = Machine(device="cuda", budget_bytes=int(budget), base_bytes=0, host_bytes=int(host))
    monkeypatch.setattr("gspn_core.runtime.placement.read_machine", lambda *_, **__: machine)
    assert home_of(SDXL, CARD, torch.bfloat16) == home


def test_a_limit_on_memory_is_kept_from_the_start(monkeypatch):
    asked = []

    def read(*_, memory_bytes):
        asked.append(memory_bytes)
        return Machine(device="cuda", budget_bytes=memory_bytes, base_bytes=0, host_bytes=int(64e9))

    monkeypatch.setattr("gspn_core.runtime.placement.read_machine", read)
    assert home_of(SDXL, CARD, torch.bfloat16, memory_bytes=int(7e9)) == HOST
    assert asked == [int(7e9)]


def test_on_zerogpu_the_device_holds_every_part(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no CUDA outside of a call")

    monkeypatch.setattr("gspn_core.runtime.placement.read_machine", refuse)
    assert home_of(SDXL, CARD, torch.bfloat16) == CARD


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Return a folder of random weights, with a card for a device that holds none of its parts."""
    write_random_model(tmp_path / "small", "small")
    monkeypatch.setattr("gspn_core.models.loading.pick_device", lambda _name: CARD)
    monkeypatch.setattr("gspn_core.models.loading.home_of", lambda *_, **__: HOST)
    return tmp_path / "small"


def test_a_model_larger_than_the_card_is_read_onto_the_host_alone(small, monkeypatch):
    moved, plain_to = [], torch.nn.Module.to

    def to(self, *args, **kwargs):
        moved.extend(arg for arg in args if isinstance(arg, torch.device))
        return plain_to(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "to", to)
    model = load_model(str(small), dtype="float32")
    assert moved and set(moved) == {HOST}
    assert model.device == CARD


def test_a_model_on_the_host_draws_by_plan_and_the_host_has_room_for_what_it_holds(small, monkeypatch):
    model = load_model(str(small), dtype="float32")
    held = bytes_on_host(model.parts)
    shapes = model.card.shapes
    weights = 4 * (shapes.unet.parameters + shapes.text_parameters + shapes.vae.parameters)
    assert held == pytest.approx(weights, rel=0.02)
    card = Machine(
        device="cuda", budget_bytes=weights, base_bytes=0, host_bytes=weights // 4, element_bytes=4
    )
    monkeypatch.setattr("gspn_core.engine.read_machine", lambda *_, **__: card)
    engine = Engine(model)
    assert engine.machine.host_bytes == weights // 4 + held
    ask = Settings(prompt="a lake", target=64, seed=1, num_inference_steps=2, guidance_scale=1.0)
    assert engine.plan(ask).stages[0].choices.residency == "model"
    done = [event for event in engine.run(engine.plan(ask), previews=True) if isinstance(event, StageDone)]
    assert done[0].image.size == (64, 64)


def test_the_host_must_hold_all_parts_of_a_model_that_lies_there(small, monkeypatch):
    class Memory:
        available = 300_000

    monkeypatch.setattr("gspn_core.models.loading.psutil.virtual_memory", Memory)
    with pytest.raises(ModelUnavailable, match="GB of memory in bfloat16"):
        load_model(str(small), dtype="bfloat16")
