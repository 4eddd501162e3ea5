"""What a stage does when memory runs out in spite of its plan: it begins again and needs less."""

from __future__ import annotations

import dataclasses
import re

import torch

from gspn_core.errors import OutOfMemory
from gspn_core.events import Retried
from gspn_core.planning.fitting import cheaper
from gspn_core.planning.plan import replanned, work_of
from gspn_core.planning.types import CascadePlan, Machine, ModelCard, Phase
from gspn_core.planning.upscaling import drawn_with
from gspn_core.runtime.machine import free_host_bytes

# The messages of allocators other than torch's own; cuBLAS, cuDNN and the C++ library have theirs.
_WORDS = (
    "DefaultCPUAllocator",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    "std::bad_alloc",
)
# What oneDNN and Python raise for lack of memory, and for other reasons too.
_AMBIGUOUS = re.compile(r"could not (create|execute) (a|the) (primitive|memory)|can't start new thread")
# Memory is taken for the reason where less than this is left; a primitive's scratch memory is below it.
_SHORT_BYTES = 384 * 2**20


class MemoryRanOut(Exception):
    """Memory ran out in a phase of a stage; holds no tensor."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(phase)
        self.phase = phase


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out; allocators other than torch's own raise a plain RuntimeError.

    To be asked before what the error's traceback holds is released.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    text = str(error)
    if any(words in text for words in _WORDS):
        return True
    return bool(_AMBIGUOUS.match(text)) and free_host_bytes() < _SHORT_BYTES


def step_down(
    plan: CascadePlan, card: ModelCard, index: int, phase: Phase, machine: Machine | None
) -> Retried:
    """Return the memory options to try next, and the plan with them.

    Args:
        plan: the run's plan.
        card: the model's.
        index: of the stage.
        phase: in which memory ran out.
        machine: where this runs, None where it is not known.

    Raises:
        OutOfMemory: no options need less.
    """
    stage, shapes = plan.stages[index], card.shapes
    found = None
    if machine is not None and shapes is not None:
        own = card.coding_tile_px(stage.size, stage.backbone)
        work = dataclasses.replace(work_of(stage), tile_px=own)
        found = cheaper(stage.choices, work, *drawn_with(shapes, machine, stage), phase)
    if found is None:
        last = plan.stages[max(0, index - 1)]
        is_drawn = index > 0 and last.kind.denoises
        # What took the host's memory since then leaves none to plan another run with.
        is_gpu = machine is not None and machine.device == "cuda"
        has_room = is_gpu or free_host_bytes() >= _SHORT_BYTES
        remedy = f"try a target of {last.px}" if is_drawn and has_room else "free memory and run it again"
        raise OutOfMemory(
            f"memory ran out at {stage.size} px however it is computed; finished stages are kept, {remedy}."
        )
    choices, name = found
    new = replanned(plan, card, index, choices, machine)
    return Retried(stage=index, phase=phase, choice=name, plan=new)
