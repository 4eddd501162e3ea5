from __future__ import annotations

import dataclasses

import pytest
import torch

from gspn_core.backbones.codec import Autoencoder
from gspn_core.cascade import oom
from gspn_core.cascade import walk as cascade
from gspn_core.cascade.sample import StageSampler
from gspn_core.engine import Engine
from gspn_core.errors import OutOfMemory
from gspn_core.events import CascadeDone, PlanReady, Retried, StageDone
from gspn_core.models.shapes import SDXL_SHAPES, unet_shapes, vae_shapes
from gspn_core.planning.costs import Work
from gspn_core.planning.fitting import cheaper
from gspn_core.planning.types import Machine, MemoryOptions, Shapes
from gspn_core.settings import Settings

ASK = Settings(prompt="a b c", target=128, seed=3, num_inference_steps=2, mixer="attention")
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
    RuntimeError("std::bad_alloc"),
]
# What oneDNN and Python raise for lack of memory, and for other reasons too.
AMBIGUOUS = [
    RuntimeError("could not create a primitive"),
    RuntimeError("could not create a primitive descriptor for the matmul primitive. Run workload with …"),
    RuntimeError("could not create a memory object"),
    RuntimeError("could not execute a primitive"),
    RuntimeError("can't start new thread"),
]


@pytest.fixture
def engine(tiny_model):
    pipeline = tiny_model.pipeline
    shapes = Shapes(
        unet=unet_shapes(pipeline.unet.config, parameters=10**5),
        vae=vae_shapes(pipeline.vae.config, parameters=10**5),
        text_parameters=10**4,
    )
    card = dataclasses.replace(tiny_model.card, shapes=shapes)
    return Engine(dataclasses.replace(tiny_model, card=card))


def break_at(monkeypatch, phase, index, times, error):
    """Let memory run out in a phase of a stage, so many times."""
    left = [times]
    stage_of = {}

    def fails(number):
        if number == index and left[0]:
            left[0] -= 1
            raise error

    whole = cascade._run_stage

    def run_stage(model, sampler, *rest):
        stage_of["now"] = sampler.stage.index
        return whole(model, sampler, *rest)

    monkeypatch.setattr(cascade, "_run_stage", run_stage)
    if phase == "steps":
        predictor = StageSampler._predictor

        def failing(self, *args):
            fails(self.stage.index)
            return predictor(self, *args)

        monkeypatch.setattr(StageSampler, "_predictor", failing)
    else:
        own = getattr(Autoencoder, phase)

        def failing(self, given):
            fails(stage_of["now"])
            return (yield from own(self, given))

        monkeypatch.setattr(Autoencoder, phase, failing)


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "python", "c++"])
@pytest.mark.parametrize(
    ("phase", "index"), [("steps", 0), ("decode", 0), ("encode", 1), ("steps", 1), ("decode", 1)]
)
def test_a_stage_that_runs_out_of_memory_begins_again_and_the_run_reaches_its_target(
    engine, monkeypatch, phase, index, error
):
    break_at(monkeypatch, phase, index, 1, error)
    events = list(engine.run(engine.plan(ASK)))
    retried = [event for event in events if isinstance(event, Retried)]
    assert [(event.stage, event.phase) for event in retried] == [(index, phase)]
    assert [event.stage.index for event in events if isinstance(event, StageDone)] == [0, 1]
    assert isinstance(events[-1], CascadeDone)


def test_each_option_is_reported_and_after_the_last_one_the_finished_stages_are_kept(engine, monkeypatch):
    break_at(monkeypatch, "steps", 1, 99, ERRORS[0])
    events = []
    with pytest.raises(OutOfMemory, match="128×128 px however"):
        for event in engine.run(engine.plan(ASK)):
            events.append(event)
    assert [event.choice for event in events if isinstance(event, Retried)] == [
        "serial_guidance",
        "chunked_feed_forward",
        "float8_storage",
    ]
    assert [event.stage.index for event in events if isinstance(event, StageDone)] == [0]


def test_after_the_last_option_failed_the_next_run_draws_the_same_bytes(engine, monkeypatch):
    before = [event.image.tobytes() for event in engine.run(engine.plan(ASK)) if isinstance(event, StageDone)]
    weights = {name: tensor.clone() for name, tensor in engine.model.pipeline.unet.state_dict().items()}
    with monkeypatch.context() as broken:
        break_at(broken, "steps", 1, 99, ERRORS[2])
        with pytest.raises(OutOfMemory):
            list(engine.run(engine.plan(ASK)))
    after = [event.image.tobytes() for event in engine.run(engine.plan(ASK)) if isinstance(event, StageDone)]
    assert before == after
    for name, tensor in engine.model.pipeline.unet.state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_another_error_ends_the_run_as_it_is(engine, monkeypatch):
    break_at(monkeypatch, "steps", 0, 1, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(engine.run(engine.plan(ASK)))


def test_keys_follow_a_retry_that_changes_bytes(engine, monkeypatch):
    break_at(monkeypatch, "steps", 1, 2, ERRORS[0])
    events = list(engine.run(engine.plan(ASK)))
    plan = next(event for event in events if isinstance(event, PlanReady)).plan
    serial, chunked = (event.plan for event in events if isinstance(event, Retried))
    keys = [[stage.key for stage in made.stages] for made in (plan, serial, chunked)]
    assert len({made[0] for made in keys}) == 1
    assert len({made[1] for made in keys}) == 3
    done = [event.stage.key for event in events if isinstance(event, StageDone)]
    assert done == keys[2]


def test_a_gpus_options_go_from_what_costs_least_to_what_costs_most():
    machine = Machine(device="cuda", budget_bytes=1, base_bytes=0, host_bytes=10**12)
    work = Work(height=4096, width=4096, mixer="gspn", calls=9, tile_px=1024)

    def options_of(phase):
        choices, names = MemoryOptions(), []
        while found := cheaper(choices, work, SDXL_SHAPES, machine, phase):
            choices, name = found
            names.append(f"{name}={getattr(choices, name)}")
        return names

    assert options_of("steps") == [
        "serial_guidance=True",
        "small_blocks=True",
        "skips_on_host=True",
        "chunked_feed_forward=True",
        "residency=model",
        "residency=group",
    ]
    assert options_of("decode") == ["residency=model", "small_tiles=1", "small_tiles=2"]


def test_only_lack_of_memory_counts_as_such():
    assert all(map(oom.is_out_of_memory, ERRORS))
    assert not oom.is_out_of_memory(RuntimeError("expected scalar type Float"))
    assert not oom.is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(("free_mb", "is_memory"), [(50, True), (4000, False)])
def test_what_has_other_causes_too_is_lack_of_memory_where_little_is_left(monkeypatch, free_mb, is_memory):
    monkeypatch.setattr(oom, "free_host_bytes", lambda: free_mb * 2**20)
    assert {oom.is_out_of_memory(error) for error in AMBIGUOUS} == {is_memory}
    assert not oom.is_out_of_memory(RuntimeError("could not create a file"))
    assert not oom.is_out_of_memory(ValueError("could not create a primitive"))
