"""The machine as the planner needs it: the available memory, and what this process uses of it."""

from __future__ import annotations

import ctypes
import gc
from functools import cache

import psutil
import torch

from gspn_core.planning.types import Machine, Shapes
from gspn_core.runtime.cgroup import memory_limits
from gspn_core.runtime.resource_limits import resource_limits

# cuDNN's workspaces, and memory lost to fragmentation in the caching allocator.
_DEVICE_RESERVE_BYTES = 512 * 2**20
# Scratch memory of oneDNN's convolutions.
_HOST_SCRATCH_BYTES = 64 * 2**20
# Bytes per number of the autoencoder in bfloat16: oneDNN copies its inputs. Measured: 2.7 at 1024 px.
_HALF_ON_HOST_BYTES = 3
# Left to other programs where the device's memory is the machine's.
_HOST_RESERVE_BYTES = 256 * 2**20
# Of malloc.h: the size from which a block is mapped separately, how much free memory is kept, and how many
# heaps the threads share.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -3, -1, -8
_KEEPING = {_M_MMAP_THRESHOLD: 32 * 2**20, _M_TRIM_THRESHOLD: 512 * 2**20}
_RETURNING = {_M_MMAP_THRESHOLD: 2**20, _M_TRIM_THRESHOLD: 2**20, _M_ARENA_MAX: 2}


def read_machine(
    shapes: Shapes,
    device: torch.device,
    dtype: torch.dtype,
    *,
    vae_dtype: torch.dtype = torch.float32,
    memory_bytes: int | None = None,
) -> Machine:
    """Read the machine's current state, with a model of these shapes loaded in this process.

    vae_dtype: of the autoencoder; dtype: of all else. memory_bytes: the most that a stage may take; None for
    all that is free, plus what the model uses.
    """
    element = torch.finfo(dtype).bits // 8
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        budget = free + torch.cuda.memory_reserved(device)
        return Machine(
            device="cuda",
            budget_bytes=budget if memory_bytes is None else memory_bytes,
            base_bytes=_DEVICE_RESERVE_BYTES,
            host_bytes=free_host_bytes(),
            element_bytes=element,
            vae_bytes=torch.finfo(vae_dtype).bits // 8,
        )
    held = psutil.Process().memory_info().rss
    budget = held + max(0, free_host_bytes() - _HOST_RESERVE_BYTES)
    adapters = sum(count for _, count in shapes.adapter_parameters)
    weights = shapes.unet.weight_bytes(element) + element * (adapters + shapes.text_parameters)
    weights += shapes.refiner.weight_bytes(element) if shapes.refiner else 0
    weights += element * (shapes.preview_parameters + shapes.other_parameters)
    weights += 4 * shapes.vae.parameters
    return Machine(
        device="cpu",
        budget_bytes=budget if memory_bytes is None else memory_bytes,
        base_bytes=max(0, held - weights) + _HOST_SCRATCH_BYTES,
        element_bytes=element,
        vae_bytes=4 if vae_dtype == torch.float32 else _HALF_ON_HOST_BYTES,
    )


def give_back(device: torch.device) -> None:
    """Release unused memory: the caching allocator's on a GPU, the C library's on a CPU.

    To be called between the phases of a stage, never within a step.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return
    trim = _from_libc("malloc_trim")
    if trim is not None:
        trim(0)


def collect(device: torch.device) -> None:
    """Collect garbage, such as an error's frames, and release its memory."""
    gc.collect()
    give_back(device)


def keep_freed(device: torch.device) -> bool:
    """Let memory freed by a step on the CPU be reused by the next; return whether the C library does.

    By default glibc maps and unmaps each larger tensor, and the kernel zeroes its pages every time. Under a
    limit of the process it shall do that even for smaller ones: what it kept would count as used, and threads
    and compiled kernels could not be mapped.
    """
    mallopt = _from_libc("mallopt") if device.type == "cpu" else None
    if mallopt is None:
        return False
    keeps = not resource_limits()
    options = _KEEPING if keeps else _RETURNING
    return all(mallopt(option, value) for option, value in options.items()) and keeps


@cache
def _from_libc(name: str):
    """Return a function of glibc, None if the C library has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None


def free_host_bytes() -> int:
    """Return the free bytes of the host: what is available, or what the limits of this process leave."""
    limits = [limit.free_bytes for limit in (*memory_limits(), *resource_limits())]
    return min([psutil.virtual_memory().available, *limits])
