import dataclasses

import psutil
import pytest
import torch

from gspn_core.engine import Engine
from gspn_core.models.catalog import find_card
from gspn_core.runtime.machine import collect, give_back, keep_freed, read_machine
from gspn_core.settings import Settings

SHAPES = find_card("world").shapes
CPU = torch.device("cpu")


def test_a_budget_is_what_was_asked_for_or_else_what_is_free():
    asked = read_machine(SHAPES, CPU, torch.float32, memory_bytes=7)
    free = read_machine(SHAPES, CPU, torch.float32)
    assert asked.budget_bytes == 7
    assert 0 < free.budget_bytes <= psutil.virtual_memory().total + psutil.Process().memory_info().rss


def test_the_autoencoders_numbers_have_a_size_of_their_own():
    full = read_machine(SHAPES, CPU, torch.bfloat16)
    half = read_machine(SHAPES, CPU, torch.bfloat16, vae_dtype=torch.bfloat16)
    assert (full.element_bytes, full.vae_bytes) == (2, 4)
    assert half.element_bytes == 2 and 2 <= half.vae_bytes < 4


def test_what_a_run_holds_is_not_taken_for_the_process(tiny_model):
    model = dataclasses.replace(tiny_model, card=dataclasses.replace(tiny_model.card, shapes=SHAPES))
    engine = Engine(model)
    plan = engine.plan(Settings(prompt="a hill", seed=1, target=64, num_inference_steps=1))
    # Memory freed by earlier tests is released as the run ends and would hide what is held.
    collect(CPU)
    before = engine.machine
    events = engine.run(plan, previews=False)
    next(events)
    held = bytearray(300 * 10**6)
    held[::4096] = b"x" * len(held[::4096])
    # The run reads the machine again as it starts, when the process has grown a little.
    assert abs(engine.machine.base_bytes - before.base_bytes) < 100 * 10**6
    events.close()
    assert engine.machine.base_bytes > before.base_bytes + 50e6
    del held


def test_what_a_step_frees_is_not_asked_of_the_kernel_again():
    resource = pytest.importorskip("resource", reason="page faults are counted on Unix")
    if not keep_freed(CPU):
        pytest.skip("this C library keeps what it keeps")
    pieces, rounds, piece_bytes = 6, 8, 20 * 2**20

    def use() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        held = [torch.ones(piece_bytes // 4) for _ in range(pieces)]
        del held
        return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize()

    use()
    assert sum(use() for _ in range(rounds)) < pieces * rounds * piece_bytes / 4
    give_back(CPU)
    assert not keep_freed(torch.device("meta"))
