"""What a planner must know of the machine: how much memory there is, and what this process holds of it."""

from __future__ import annotations

import ctypes
import gc
from functools import cache

import psutil
import torch

from gspn_core.planning.types import Machine, Shapes
from gspn_core.runtime.cgroup import memory_limits

# cuDNN's workspaces and what the caching allocator cannot hand out again.
_DEVICE_RESERVE_BYTES = 512 * 2**20
# What oneDNN's convolutions keep for themselves while they work.
_HOST_SCRATCH_BYTES = 64 * 2**20
# Of one number of the autoencoder in bfloat16: oneDNN copies what it convolves. Measured: 2.7 at 1024 px.
_HALF_ON_HOST_BYTES = 3
# Left to the rest of a machine whose memory is the device's.
_HOST_RESERVE_BYTES = 256 * 2**20
# Of malloc.h: from which size a piece is mapped on its own, and how much of what is free is kept.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_MAPPED_FROM_BYTES, _KEPT_BYTES = 32 * 2**20, 512 * 2**20


def read_machine(
    shapes: Shapes,
    device: torch.device,
    dtype: torch.dtype,
    *,
    vae_dtype: torch.dtype = torch.float32,
    memory_bytes: int | None = None,
) -> Machine:
    """Return the machine as it is now, with a model of these shapes loaded in this process.

    vae_dtype: of the autoencoder, dtype: of all else. memory_bytes: the most that a stage may
    take; None for all that is free, and what the model holds.
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
    weights += element * shapes.preview_parameters
    weights += 4 * shapes.vae.parameters
    return Machine(
        device="cpu",
        budget_bytes=budget if memory_bytes is None else memory_bytes,
        base_bytes=max(0, held - weights) + _HOST_SCRATCH_BYTES,
        element_bytes=element,
        vae_bytes=4 if vae_dtype == torch.float32 else _HALF_ON_HOST_BYTES,
    )


def give_back(device: torch.device) -> None:
    """Hand memory that nothing uses back: the caching allocator's on a GPU, the C library's on a CPU.

    To be called between the parts of a stage, never within a step.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return
    trim = _from_libc("malloc_trim")
    if trim is not None:
        trim(0)


def collect(device: torch.device) -> None:
    """Free what an error's frames held, and hand it back."""
    gc.collect()
    give_back(device)


def keep_freed(device: torch.device) -> bool:
    """Let what a step frees on the CPU be used by the next step, and tell whether the C library knows how.

    Left to itself glibc maps and unmaps each larger tensor, and the kernel clears its pages every time.
    """
    mallopt = _from_libc("mallopt") if device.type == "cpu" else None
    options = {_M_MMAP_THRESHOLD: _MAPPED_FROM_BYTES, _M_TRIM_THRESHOLD: _KEPT_BYTES}
    return mallopt is not None and all(mallopt(option, value) for option, value in options.items())


@cache
def _from_libc(name: str):
    """Return one of glibc's own functions, None where the C library has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None


def free_host_bytes() -> int:
    """Return how many bytes the host can still give: what is available, or what a control group leaves."""
    limits = [limit.free_bytes for limit in memory_limits()]
    return min([psutil.virtual_memory().available, *limits])
