"""The dtype in which a training step computes on the processor."""

import torch

from gspn_core.runtime.device import pick_dtype


def fast_autocast() -> torch.autocast:
    """Return a context of autocast to bfloat16 where the processor has instructions for it.

    On any other it changes nothing: without them bfloat16 is many times slower than float32.
    """
    dtype = pick_dtype("auto", torch.device("cpu"))
    return torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
