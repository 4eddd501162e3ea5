"""Where a server's event loop was while it answered no one, by samples of its stack."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.drills.figures import Figure

# The longest that a visitor may wait because of what another one sent.
WAIT_SECONDS = 0.2
TICK_SECONDS = 0.005
LATE_SECONDS = 0.05
DEPTH = 8


@dataclass(frozen=True, kw_only=True)
class Stall:
    """A time in which the loop was late.

    cpu_seconds: what its thread computed meanwhile; in the rest it waited for the lock or a core.
    """

    seconds: float
    cpu_seconds: float
    where: str


def watch(loop: Any, on_stall: Callable[[Stall], None], late_seconds: float = LATE_SECONDS) -> None:
    """Call back for each stall of a running loop, until it is closed."""
    samples: deque[tuple[float, str]] = deque(maxlen=2000)
    thread: list[int] = []
    last = [time.perf_counter(), 0.0]

    def tick() -> None:
        if not thread:
            thread.append(threading.get_ident())
        now, cpu = time.perf_counter(), time.thread_time()
        if now - last[0] > late_seconds + TICK_SECONDS and last[1]:
            seen = Counter(where for when, where in samples if last[0] < when <= now)
            where = "; ".join(f"{count}x {where}" for where, count in seen.most_common(2))
            on_stall(Stall(seconds=now - last[0], cpu_seconds=cpu - last[1], where=where))
        last[:] = now, cpu
        loop.call_later(TICK_SECONDS, tick)

    def sample() -> None:
        while not loop.is_closed():
            time.sleep(TICK_SECONDS)
            frame = sys._current_frames().get(thread[0]) if thread else None
            if frame is not None:
                samples.append((time.perf_counter(), _named(frame)))

    loop.call_soon_threadsafe(tick)
    threading.Thread(target=sample, name="drill-stalls", daemon=True).start()


def watch_server(server: Any, path: Path) -> None:
    """Write each stall of a running uvicorn server to a file, one JSON object a line."""

    def write(stall: Stall) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(vars(stall)) + "\n")

    path.touch()
    watch(server.servers[0].get_loop(), write)


def read(path: Path) -> list[Stall]:
    """Return the stalls of such a file, the longest first; raise OSError where nothing was watched."""
    lines = path.read_text("utf-8").splitlines()
    return sorted((Stall(**json.loads(line)) for line in lines), key=lambda stall: -stall.seconds)


def most_computed(path: Path) -> float:
    """Return the most seconds that the loop's thread computed at one go, whatever else the machine did."""
    return max((stall.cpu_seconds for stall in read(path)), default=0.0)


def longest(path: Path, count: int = 3) -> str:
    """Return the longest stalls of such a file in words."""
    return "; ".join(
        f"{one.seconds * 1000:.0f} ms ({one.cpu_seconds * 1000:.0f} ms computing): {one.where}"
        for one in read(path)[:count]
    )


def wait_figures(waits: list[float], path: Path) -> list[Figure]:
    """Return how long another visitor waited, and what the loop did, by the file of its stalls."""
    return [
        Figure(
            what=f"longest of {len(waits)} waits of another visitor",
            value=max(waits),
            bound=WAIT_SECONDS,
            unit="s",
            seen=longest(path),
        ),
        Figure(
            what="longest computing of the event loop at one go",
            value=most_computed(path),
            bound=WAIT_SECONDS,
            unit="s",
        ),
    ]


def _named(frame: Any) -> str:
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=DEPTH, lookup_lines=False)
    return " < ".join(f"{'/'.join(Path(one.filename).parts[-2:])}:{one.lineno} {one.name}" for one in stack)
