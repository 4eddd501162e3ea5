"""More runs than the queue holds while others open the page: all are drawn, in order."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.drills.figures import Figure
from tests.drills.folders import ended, is_sentence
from tests.drills.followers import OPEN_SECONDS
from tests.drills.server import Address, serving_apart

SESSIONS_EACH = 6
# Of the smallest picture, three of them a run.
STEP_SECONDS = 0.25
TARGET_PX = 64
TURN_SECONDS = 0.2
# So many are more than the queue holds, however many are drawn while they come.
FULL = 50
WAIT_SECONDS = 600


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Let `count` visitors ask for a run at once, each again while the queue is full, and open the page."""
    with (
        tempfile.TemporaryDirectory(prefix="gspn-queued-") as name,
        serving_apart(Path(name), step_seconds=STEP_SECONDS) as (address, process, log),
    ):
        runs: list[str] = []
        refused: list[str] = []
        with ThreadPoolExecutor(1) as apart:
            opening = [apart.submit(open_page, address) for _ in range(SESSIONS_EACH * count)]
            for run, said in submissions(address, count):
                refused += said
                runs.append(run)
                tell(len(runs))
            opened = [one.result() for one in opening]
        states = [ended(address, run)["state"] for run in runs]
        ends = [finished_at(Path(name) / "jobs" / run) for run in runs]
        is_alive = process.poll() is None
        said = log.read_text("utf-8", "replace")
    unsaid = [text for text in refused if not (is_sentence(text) and "queue is full" in text)]
    late = sum(one > other for one, other in zip(ends, ends[1:], strict=False))
    drawn, full = states.count("done"), int(count >= FULL)
    return [
        Figure(what=f"of {count} runs, those that were drawn", value=drawn, bound=count, at_least=True),
        Figure(what="runs that were drawn before an earlier one", value=late, bound=0),
        Figure(what="refusals by the full queue", value=len(refused), bound=full, at_least=True),
        Figure(what="refusals that do not say so", value=len(unsaid), bound=0, seen="; ".join(unsaid[:3])),
        Figure(
            what=f"longest of {len(opened)} times to open the page meanwhile",
            value=max(opened), bound=OPEN_SECONDS, unit="s",
        ),
        Figure(what="tracebacks in the log", value=said.count("Traceback"), bound=0, seen=said[-500:]),
        Figure(what="servers that ended", value=not is_alive, bound=0),
    ]  # fmt: skip


def submissions(address: Address, count: int) -> Iterator[tuple[str, list[str]]]:
    """Yield each run's id once it is in the queue, and the refusals before."""
    event = address.event("run")
    for number in range(count):
        arguments = address.arguments("run", prompt="a toy", target=TARGET_PX, seed=number)
        refused, deadline = [], time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            answer = address.ask(event, arguments)
            if answer.status_code == 200:
                yield answer.json()["data"][0], refused
                break
            refused.append(str(answer.json().get("error")))
            time.sleep(TURN_SECONDS)


def open_page(address: Address) -> float:
    """Open the page as a new visitor and return the seconds in which it and its configuration are there."""
    began = time.perf_counter()
    for path in ("/", "/config"):
        address.client.get(path).raise_for_status()
    return time.perf_counter() - began


def finished_at(folder: Path) -> int:
    """Return when a run's last picture was written, in ns."""
    stages = json.loads((folder / "job.json").read_text("utf-8"))["view"]["stages"]
    return (folder / Path(stages[-1]["png_path"]).name).stat().st_mtime_ns
