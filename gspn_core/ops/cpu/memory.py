"""Memory for large results on the CPU."""

from __future__ import annotations

import ctypes
import mmap

import torch
from torch import Tensor

# From this size on glibc takes fresh pages from the system for every tensor, and gives them back after.
_FRESH_BYTES = 32 << 20


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return an unwritten tensor, whose fresh pages are 2 MiB each where the system has such.

    The first write to each page of 4 KiB would cost more than the kernel that writes it.
    """
    tensor = torch.empty(shape, dtype=dtype)
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if tensor.nbytes >= _FRESH_BYTES and advice is not None:
        first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        size = tensor.data_ptr() + tensor.nbytes - first
        # Advice that the system does not take changes nothing.
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), advice)
    return tensor
