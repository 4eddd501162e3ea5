"""What a server's memory grows by with every run and with every visitor."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from gspn_core.runtime.machine import give_back
from gspn_core.settings import Settings
from tests.drills.figures import Figure, slope
from tests.drills.followers import opened
from tests.drills.server import Served, serving
from tests.drills.toy import resident_bytes

RUN_MB, OPENING_MB = 0.03, 0.05


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Run `count` runs, then open the page `count` times; the first half only warms up."""
    folder = tempfile.TemporaryDirectory(prefix="gspn-memory-")
    with folder, serving(Path(folder.name), step_seconds=0.0) as served:
        runs = grown(count, lambda i: one_run(served, i), tell)
        openings = grown(count, lambda _: one_opening(served), tell)
    return [
        Figure(what=f"memory per run over {count} runs", value=runs, bound=RUN_MB, unit="MB"),
        Figure(what=f"memory per opening over {count} openings", value=openings, bound=OPENING_MB, unit="MB"),
    ]


def grown(count: int, once: Callable[[int], None], tell: Callable[[int], None]) -> float:
    """Return the megabytes by which this process grows with each call, after half of them."""
    held = []
    for i in range(count):
        once(i)
        gc.collect()
        give_back_all()
        held.append(resident_bytes(os.getpid()) / 2**20)
        tell(i + 1)
    return max(0.0, slope(held[count // 2 :]))


def give_back_all() -> None:
    """Let the C library hand back what nothing uses."""
    import torch

    give_back(torch.device("cpu"))


def one_run(served: Served, seed: int) -> None:
    """Run one run to its end."""
    list(served.jobs.follow(served.jobs.submit(Settings(prompt="a toy", seed=seed, target=256))))


def one_opening(served: Served) -> None:
    """Open the page as a new visitor: the page, its configuration, and what it asks for as it loads."""
    opened(served)
    for event in served.events:
        if event["targets"] and event["targets"][0][1] == "load":
            served.ask(event, served.values(event))
