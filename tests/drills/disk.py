"""A disk that becomes full at each write of a run, or in the middle of a file, and then has room again."""

from __future__ import annotations

import errno
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gspn_core.errors import GspnError
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RunView
from gspn_core.settings import Settings
from tests.drills.figures import Figure
from tests.drills.kills import look
from tests.drills.toy import paint, plan_of
from tests.drills.victim import VISITOR

# Sizes at which a file ends short, in bytes: within a record, within a small picture, within a large one.
SHORT = (1, 200, 900, 5_000, 40_000)

# All runs of a folder are looked at after each of them.
RUNS_A_FOLDER = 20


class FullDisk:
    """Refuses what needs room below a folder, from a given write on. Removing goes on, as on a full disk."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = str(folder), threading.Lock()
        self.writes, self.room = 0, sys.maxsize
        # An audit hook stays until the process ends.
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            path, writes = (arguments or (None,))[0], event == "os.mkdir"
        if not writes or not str(path).startswith(self._folder):
            return
        with self._lock:
            self.writes += 1
            full = self.writes > self.room
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")

    @contextmanager
    def full_after(self, writes: int) -> Iterator[None]:
        """Let so many writes pass and refuse all later ones until the `with` block ends."""
        with self._lock:
            self.writes, self.room = 0, writes
        try:
            yield
        finally:
            self.room = sys.maxsize


@contextmanager
def short_files(size: int) -> Iterator[None]:
    """Let every file of this process end at so many bytes, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Run `count` runs of which each meets a full disk at another write; look at what is left each time."""
    faults = dict.fromkeys(("unreadable", "half", "lost", "not resumed", "unsaid", "stuck"), 0)
    cut_off: set[str] = set()
    met = 0
    with tempfile.TemporaryDirectory(prefix="gspn-disk-") as name:
        disk = FullDisk(Path(name))
        with disk.full_after(sys.maxsize - 1):
            run_one(Path(name) / "whole", 0)
            writes = disk.writes
        for i in range(count):
            folder = Path(name) / str(i // RUNS_A_FOLDER)
            kind = short_files(SHORT[i // 4 % len(SHORT)]) if i % 4 == 3 else disk.full_after(i % writes)
            met += meets(folder, i + 1, kind, faults)
            faults["stuck"] += run_one(folder, count + i + 1).state != "done"
            jobs = opened(folder)
            try:
                look(jobs, folder, faults, cut_off)
            finally:
                jobs.close()
            tell(i + 1)
    return [
        Figure(what="runs that a full disk ended", value=met, bound=count // 2, at_least=True),
        Figure(
            what=f"of {writes} writes of a run: records that cannot be read",
            value=faults["unreadable"],
            bound=0,
        ),
        Figure(what="half or wrong pictures that a record names", value=faults["half"], bound=0),
        Figure(what="runs that failed without a sentence about it", value=faults["unsaid"], bound=0),
        Figure(what="runs that did not end once there was room", value=faults["stuck"], bound=0),
    ]


def opened(folder: Path) -> RunQueue:
    """Return a queue of the toy's runs in a folder."""
    return RunQueue(paint, folder, plan=plan_of, view_seconds=0.0)


def run_one(folder: Path, seed: int) -> RunView:
    """Run one run to its end, in a queue of its own, and return its last view."""
    jobs = opened(folder)
    try:
        run = jobs.submit(Settings(prompt="a toy", seed=seed, target=256), visitor=VISITOR)
        return [*jobs.follow(run)][-1]
    finally:
        jobs.close()


def meets(folder: Path, seed: int, disk: Any, faults: dict[str, int]) -> bool:
    """Return whether a full disk ended a run; it has to say so in a sentence."""
    try:
        with disk:
            view = run_one(folder, seed)
    except GspnError as refused:
        faults["unsaid"] += not is_said(str(refused))
        return True
    if view.state != "done":
        faults["unsaid"] += not is_said(view.error)
    return view.state != "done"


def is_said(sentence: str) -> bool:
    """Return whether a message is one sentence that names the cause."""
    causes = ("No space left", "File too large")
    return sentence.endswith(".") and "\n" not in sentence and any(cause in sentence for cause in causes)
