"""The served page under load, and the overhead of a run through it over Engine.run alone."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from gspn_core.bench.startup import serving
from gspn_core.bench.table import Table, median, spread
from gspn_core.bench.visitor import Message, Visitor
from gspn_core.engine import Engine
from gspn_core.models.loading import load_model
from gspn_core.settings import Settings

# The highest load that the script generates; the page accepts 96 followers.
MOST_FOLLOWERS, MOST_QUEUED = 30, 60
# Names of the threads that write files, as in `gspn_core.runs.recorder`.
WRITER = "gspn-writer"
_STOPS = 10
# Seconds between two GETs: visitors arrive one after another, not as fast as possible.
_PAUSE_SECONDS = 0.1
_JOIN_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--model", default="world")
    parser.add_argument("--target", type=int, default=256, help="of every run, in px (default: 256)")
    parser.add_argument("--steps", type=int, default=2, help="of the paired and the queued runs (default: 2)")
    parser.add_argument("--long-steps", type=int, default=150, help="of the followed run (default: 150)")
    parser.add_argument("--followers", type=_bounded(MOST_FOLLOWERS), default=20, help="default: 20")
    parser.add_argument("--queued", type=_bounded(MOST_QUEUED), default=50, help="default: 50")
    parser.add_argument("--prompt", default="snowy mountains over a lake at dusk")


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return a table of the load and one of the pairs."""
    with serving(arguments.model, "--max-queued", str(MOST_QUEUED)) as (address, _):
        visitor = Visitor(address)
        # The first run waits for the model and warms it up.
        _seconds(visitor.run(_settings(arguments, seed=0)))
        pairs = _pairs(arguments, visitor)
        return [_under_load(arguments, visitor), pairs]


@dataclass(kw_only=True)
class _Follower:
    """A thread that reads the page's answers until the event ends."""

    messages: Iterator[Message]
    views: list[Message] = field(default_factory=list)
    error: BaseException | None = None
    began: threading.Event = field(default_factory=threading.Event)
    ended_at: float | None = None
    thread: threading.Thread | None = None

    def start(self) -> _Follower:
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        return self

    def wait_for_views(self) -> None:
        """Wait until the page has answered once; raise the thread's error, if any."""
        if not self.began.wait(_JOIN_SECONDS):
            raise SystemExit(f"The page did not answer for {_JOIN_SECONDS:.0f} seconds.")
        if self.error is not None:
            raise self.error

    def join(self) -> None:
        """Wait for the end; raise the thread's error, if any."""
        self.thread.join(_JOIN_SECONDS)
        if self.thread.is_alive():
            raise SystemExit(f"A run did not end within {_JOIN_SECONDS:.0f} seconds of its Stop.")
        if self.error is not None:
            raise self.error

    def _read(self) -> None:
        try:
            for message in self.messages:
                if message.kind in ("process_generating", "process_completed"):
                    self.views.append(message)
                    self.began.set()
        except BaseException as error:
            self.error = error
        finally:
            self.ended_at = time.perf_counter()
            self.began.set()


def _under_load(arguments: argparse.Namespace, visitor: Visitor) -> Table:
    quiet = [visitor.get() for _ in range(10)]
    long = _settings(arguments, seed=10_000) | {"num_inference_steps": arguments.long_steps}
    first = _Follower(messages=visitor.run(long)).start()
    first.wait_for_views()
    job_id = visitor.job_of(first.views[0])
    followers = [_Follower(messages=visitor.follow(job_id)).start() for _ in range(arguments.followers)]
    waiting = [
        _Follower(messages=visitor.run(_settings(arguments, seed=20_000 + number))).start()
        for number in range(arguments.queued)
    ]
    for follower in (*followers, *waiting):
        follower.wait_for_views()
    loaded = []
    for _ in range(20):
        loaded.append(visitor.get())
        time.sleep(_PAUSE_SECONDS)
    going = first.ended_at is None
    # From the end of the queue, so that none of these has started yet.
    stops = [_stop(visitor, follower) for follower in waiting[::-1][:_STOPS]]
    last = _stop(visitor, first)
    for follower in waiting[::-1][_STOPS:]:
        visitor.stop(visitor.job_of(follower.views[0]))
    for follower in (*followers, *waiting):
        follower.join()
    table = Table(
        title=f"1 run with {arguments.followers} more followers, {arguments.queued} runs waiting",
        columns=("answer", "ms", "least–most"),
    )
    table.rows += [
        _row("GET / without load", quiet),
        _row("GET / under load", loaded),
        _row("Stop of a waiting run: answered", [answered for answered, _ in stops]),
        _row("Stop of a waiting run: shown", [shown for _, shown in stops]),
        _row("Stop of the run that goes: answered", [last[0]]),
        _row("Stop of the run that goes: shown", [last[1]]),
    ]
    table.notes.append(_traffic_note(followers, going=going))
    return table


def _stop(visitor: Visitor, follower: _Follower) -> tuple[float, float]:
    """Stop a run and return the seconds until the answer, and until its page showed the end."""
    began = time.perf_counter()
    answered = visitor.stop(visitor.job_of(follower.views[0]))
    follower.join()
    return answered, max(answered, follower.ended_at - began)


def _traffic_note(followers: list[_Follower], *, going: bool) -> str:
    rates = [
        len(follower.views) / max(1e-3, follower.views[-1].since_seconds - follower.views[0].since_seconds)
        for follower in followers
    ]
    size = sum(message.bytes for follower in followers for message in follower.views)
    views = sum(len(follower.views) for follower in followers)
    sentence = f"A follower received {median(rates):.1f} views a second, {size / views / 1e3:.1f} kB each."
    if not going:
        sentence += " The followed run ended before the last answer was timed; ask for more --long-steps."
    return sentence


def _pairs(arguments: argparse.Namespace, visitor: Visitor) -> Table:
    engine = Engine(load_model(arguments.model))
    _drain(engine, Settings(**_settings(arguments, seed=1)))
    alone, through, shares, written = [], [], [], []
    server = next(
        child for child in psutil.Process().children() if any("app.py" in w for w in child.cmdline())
    )

    def by_the_page(values: dict[str, Any]) -> None:
        before = _thread_seconds(server)
        through.append(_seconds(visitor.run(values)))
        page, files = _shares(before, _thread_seconds(server), _writers(server))
        shares.append(page)
        written.append(files)

    for number in range(arguments.repeats):
        settings = _settings(arguments, seed=2 + number)
        both = [
            lambda values=settings: alone.append(_drain(engine, Settings(**values))),
            lambda values=settings: by_the_page(values),
        ]
        # The order alternates from pair to pair, so that a warming machine favours neither.
        for one in both[:: -1 if number % 2 else 1]:
            one()
    more = [(page / own - 1) * 100 for own, page in zip(alone, through, strict=True)]
    table = Table(
        title=f"{arguments.repeats} pairs at {arguments.target} px, {arguments.steps} steps",
        columns=("run", "seconds", "least–most"),
    )
    table.rows += [
        ("Engine.run alone", f"{median(alone):.2f}", spread(alone)),
        ("through the page, followed, all files written", f"{median(through):.2f}", spread(through)),
        ("more, in percent", f"{median(more):.1f}", spread(more)),
        ("processor time of the page, in percent", f"{median(shares):.2f}", spread(shares)),
        ("processor time of the files, in percent", f"{median(written):.2f}", spread(written)),
    ]
    if not psutil.LINUX:
        table.notes.append("This system does not list threads by name: the page's time includes the files'.")
    return table


def _thread_seconds(process: psutil.Process) -> dict[int, float]:
    """Return the processor seconds of a process by thread id, with the total at 0."""
    spent = {thread.id: thread.user_time + thread.system_time for thread in process.threads()}
    spent[0] = sum(process.cpu_times()[:2])
    return spent


def _writers(process: psutil.Process) -> set[int]:
    """Return the ids of the threads that write a run's files."""
    found = set()
    for name in Path(f"/proc/{process.pid}/task").glob("*/comm"):
        # A thread may have ended.
        with suppress(OSError):
            if name.read_text().startswith(WRITER):
                found.add(int(name.parent.name))
    return found


def _shares(
    before: dict[int, float], after: dict[int, float], writers: Collection[int]
) -> tuple[float, float]:
    """Return the shares of the page and of the files in a run's processor time, in percent.

    The threads with the most time, as many as torch computes with, are the worker and its helpers; of the
    others, the writers write the files and all the rest belongs to the page. Threads of a single scan have
    ended by then.
    """
    grown = {key: spent - before.get(key, 0.0) for key, spent in after.items()}
    total = max(grown.pop(0), 1e-9)
    others = sorted(grown, key=grown.get, reverse=True)[torch.get_num_threads() :]
    files = sum(grown[key] for key in others if key in writers)
    return 100 * (sum(grown[key] for key in others) - files) / total, 100 * files / total


def _drain(engine: Engine, settings: Settings) -> float:
    began = time.perf_counter()
    for _ in engine.run(engine.plan(settings)):
        pass
    return time.perf_counter() - began


def _seconds(messages: Iterator[Message]) -> float:
    *_, last = messages
    return last.since_seconds


def _settings(arguments: argparse.Namespace, *, seed: int) -> dict[str, Any]:
    # Every run has its own seed, or it would use the cached pictures of another.
    return {
        "prompt": arguments.prompt,
        "target": arguments.target,
        "num_inference_steps": arguments.steps,
        "seed": seed,
    }


def _row(name: str, seconds: list[float]) -> tuple[str, str, str]:
    milliseconds = [second * 1e3 for second in seconds]
    return name, f"{median(milliseconds):.3g}", spread(milliseconds)


def _bounded(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {most}, got {text!r}")
        return int(text)

    return parse
