"""Share work out over threads: Python's own, as numba's kernels release the interpreter lock.

Unlike numba's parallel loops this is safe from any thread, and it leaves the process's thread count alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

# A smaller piece of work costs less than the thread that would do it (about 50 microseconds).
NUMBERS_PER_THREAD = 1 << 17


def threads_for(numbers: int, *, least: int | None = None) -> int:
    """Return how many of torch's threads are worth starting for so many numbers, `least` for each of them."""
    return max(1, min(torch.get_num_threads(), numbers // (least or NUMBERS_PER_THREAD)))


def run_parts(work: Callable[..., None], parts: Sequence[tuple[int, ...]]) -> None:
    """Call work(*part) for every part, each on a thread of its own but the first, and wait for all."""
    first, *others = parts
    if not others:
        work(*first)
        return
    with ThreadPoolExecutor(len(others)) as pool:
        pending = [pool.submit(work, *part) for part in others]
        work(*first)
        for done in pending:
            done.result()
