"""Peak bytes of a call, counted at torch's allocator, so independent of how busy the machine is.

Memory that a library takes from the system directly, as oneDNN does for some kernels, is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

_CALL = "counted call {}"


def most_extra_bytes(calls: Sequence[Callable[[], Any]], device: torch.device) -> list[int]:
    """Return for each call, made once, its peak bytes in addition to those in use before.

    On a CPU the calls share one profile, since opening one is slow.
    """
    if device.type == "cuda":
        return [_on_device(call, device) for call in calls]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        for i, call in enumerate(calls):
            with record_function(_CALL.format(i)):
                call()
    events = sorted(profiled.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    spans = {event.name(): (event.start_ns(), event.end_ns()) for event in events}
    changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return [_highest(changes, *spans[_CALL.format(i)]) for i in range(len(calls))]


def _highest(changes: Sequence[tuple[int, int]], began: int, ended: int) -> int:
    """Return the highest sum of the changes in bytes between two moments in nanoseconds."""
    held = highest = 0
    for when, change in changes:
        if began <= when <= ended:
            held += change
            highest = max(highest, held)
    return highest


def _on_device(call: Callable[[], Any], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
