"""What a stage does when memory runs out in spite of its plan: it begins again and needs less."""

from __future__ import annotations

import dataclasses

import torch

from gspn_core.errors import OutOfMemory
from gspn_core.events import Retried
from gspn_core.planning.fitting import cheaper
from gspn_core.planning.plan import replanned, work_of
from gspn_core.planning.types import CascadePlan, Machine, ModelCard, Phase

# The messages of allocators other than torch's own; cuBLAS and cuDNN have theirs.
_WORDS = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")


class MemoryRanOut(Exception):
    """Memory ran out in a phase of a stage; holds no tensor."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(phase)
        self.phase = phase


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out; allocators other than torch's own raise a plain RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


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
        own = card.vae_tile_px if max(stage.size.height, stage.size.width) > card.vae_tile_px else None
        work = dataclasses.replace(work_of(stage), tile_px=own)
        found = cheaper(stage.choices, work, shapes, machine, phase)
    if found is None:
        raise OutOfMemory(
            f"memory ran out at {stage.size} px however it is computed; finished stages are kept, "
            "try the next smaller target."
        )
    choices, name = found
    new = replanned(plan, card, index, choices, machine)
    return Retried(stage=index, phase=phase, choice=name, plan=new)
