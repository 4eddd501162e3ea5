"""Every drill in short; `python -m tests.drills` does them in full."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest

from tests.drills.stalls import watch

# The figures that a short drill on a busy machine can tell: no times.
SHORT = {
    **{"pruning": 200, "kills": 3, "disk": 8, "records": 12, "clock": 3, "folders": 10, "models": 3},
    **{"limit": 2, "queued": 22, "followers": 96, "single": 15, "api": 120, "fuzz": 120},
}


@pytest.mark.parametrize("name", SHORT)
def test_a_drill_in_short(name):
    figures = import_module(f"tests.drills.{name}").drill(SHORT[name], lambda _done: None)
    failed = [str(figure) for figure in figures if not figure.holds and figure.unit != "s"]
    assert not failed


def test_a_stall_is_named_with_the_place_where_the_loop_was():
    stalls = []

    async def hold_the_loop():
        watch(asyncio.get_running_loop(), stalls.append, late_seconds=0.05)
        await asyncio.sleep(0.05)
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass
        await asyncio.sleep(0.05)

    # In a thread of its own: another test's browser may hold this one's loop.
    with ThreadPoolExecutor(1) as apart:
        apart.submit(lambda: asyncio.run(hold_the_loop())).result()
    longest = max(stalls, key=lambda stall: stall.cpu_seconds)
    assert longest.seconds >= longest.cpu_seconds * 0.9 > 0.1
    assert "hold_the_loop" in longest.where
