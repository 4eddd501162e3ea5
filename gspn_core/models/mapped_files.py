"""Weights that are views of a mapped file, copied into memory of the process's own.

A mapped file that becomes shorter, as by copying another model over it, ends the process with SIGBUS at the
next read. Loading maps files, and keeps a weight mapped if it needs no other dtype or device.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import torch
from torch import nn

_MAPS = Path("/proc/self/maps")


@torch.no_grad()
def copy_mapped(module: nn.Module) -> None:
    """Copy every parameter and buffer that is in a mapped .safetensors file, one at a time."""
    ranges = _mapped_ranges()
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.device.type == "cpu" and _is_mapped(tensor, ranges):
            tensor.data = tensor.data.clone()


def _is_mapped(tensor: torch.Tensor, ranges: list[tuple[int, int]] | None) -> bool:
    if ranges is None:
        return True
    try:
        address = tensor.data_ptr()
    except (RuntimeError, NotImplementedError):
        # A quantized weight is computed from others, and so is not in a file as it is.
        return False
    return any(start <= address < end for start, end in ranges)


def _mapped_ranges() -> list[tuple[int, int]] | None:
    """Return where .safetensors files are mapped, None if the system does not say."""
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    # A file that was removed or replaced since is marked as deleted.
    spans = [line.split()[0] for line in lines if ".safetensors" in line]
    return [(int(start, 16), int(end, 16)) for start, end in (span.split("-") for span in spans)]
