"""The device and dtype that a model runs in, and the machine's name. Only this module probes them."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil
import torch

from gspn_core.errors import ModelUnavailable
from gspn_core.runtime.cgroup import memory_limits
from gspn_core.runtime.resource_limits import resource_limits

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name ("auto": the GPU if there is one); raise ModelUnavailable if absent."""
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise ModelUnavailable(f"device must be auto, cpu or cuda, got {name!r}.")
    if name.startswith("cuda") and not has_gpu:
        raise ModelUnavailable("device cuda was asked for but torch sees no GPU here; use --device cpu.")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype that the UNet runs in.

    "auto" is bfloat16 on a GPU and on a CPU with instructions for it (twice as fast there, and 0.3 % off in a
    prediction of the embedded model), and float32 on any other CPU.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" or _cpu_has_bfloat16() else torch.float32
    if name not in DTYPES:
        raise ModelUnavailable(f"dtype must be auto, {', '.join(DTYPES)}, got {name!r}.")
    return DTYPES[name]


def _cpu_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def usable_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_bytes(device: torch.device) -> int:
    """Return the memory in bytes of the GPU, or on a CPU what this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    limits = [limit.limit_bytes for limit in (*memory_limits(), *resource_limits())]
    return min([psutil.virtual_memory().total, *limits])


def describe_machine(device: torch.device) -> str:
    """Return a short description for the page, such as "CPU, 2 cores"."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {total_bytes(device) / 1e9:.0f} GB"
    cores = usable_cores()
    return f"CPU, {cores} core{'s' if cores != 1 else ''}"


def machine_signature(device: torch.device) -> str:
    """Return what distinguishes machines of different speed: the processor or GPU, and its threads."""
    name = describe_machine(device)
    return name if device.type == "cuda" else f"{processor()}, {name}, {torch.get_num_threads()} threads"


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
