"""Where a model's parts are: on the device that computes, or on the host until they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import ModelCard
from gspn_core.runtime.machine import give_back, read_machine
from gspn_core.settings import Settings

HOST = torch.device("cpu")


def home_of(
    card: ModelCard, device: torch.device, dtype: torch.dtype, *, memory_bytes: int | None = None
) -> torch.device:
    """Return where a model's parts are between stages: the device, or the host if they do not fit there.

    This is the planner's choice for the model's smallest picture, made before any part is loaded.
    memory_bytes: the most that a stage may take; None for all that is free.
    """
    if card.shapes is None:
        return device
    try:
        machine = read_machine(card.shapes, device, dtype, memory_bytes=memory_bytes)
    except (RuntimeError, AssertionError):
        # On ZeroGPU the device cannot be queried outside of GPU calls.
        return device
    prompt = card.examples[0] if card.examples else "a picture"
    smallest = Settings(prompt=prompt, target=card.targets[0], seed=0)
    residency = make_plan(smallest, card, machine).stages[0].choices.residency
    return device if residency == "device" else HOST


def bytes_on_host(parts: Sequence[nn.Module]) -> int:
    """Return how many bytes of the parts' weights are on the host."""
    weights = (weight for part in parts for weight in part.parameters())
    return sum(weight.nbytes for weight in weights if weight.device.type == "cpu")


@contextmanager
def at_hand(parts: Sequence[nn.Module], others: Sequence[nn.Module], device: torch.device) -> Iterator[None]:
    """Keep parts on the device and others on the host during the block; then move all back."""
    homes = [(part, part.device) for part in (*parts, *others)]
    try:
        for part in others:
            move(part, HOST)
        if any(home != HOST for _, home in homes[len(parts) :]):
            give_back(device)
        for part in parts:
            move(part, device)
        yield
    finally:
        # Parts that leave the device go first, to make room.
        for part, home in sorted(homes, key=lambda pair: pair[1] != HOST):
            move(part, home)


def move(part: nn.Module, device: torch.device) -> None:
    """Move a part, unless it is there already."""
    if part.device != device:
        part.to(device)
