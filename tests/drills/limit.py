"""A real limit on memory, below what a run needs: a picture or a sentence, and the server goes on."""

from __future__ import annotations

import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.drills.figures import Figure
from tests.drills.folders import answers, ended, is_sentence
from tests.drills.groups import Group, memory_group
from tests.drills.server import Address, served_by
from tests.drills.toy import free_port

SEED = 20261129
# From too little for the first stage to enough for all.
LEAST_MB, MOST_MB = 60, 900
TARGETS_PX, LARGER_PX = (512, 1024, 1024), 2048
# A run to it takes long: one of so many.
LARGER_EVERY = 8
SMALLEST_PX = 256
LONGEST_SECONDS = 1.5
# Of a server that has a limit from its start on and is not yet held by it.
WIDE_BYTES = 2**40
PROMPT, STEPS = "green hills by day", 2
_APP = Path(__file__).resolve().parents[2] / "app.py"


@dataclass
class Found:
    """What was counted, and the sentences of what should not be."""

    met: int = 0
    unsaid: list[str] = field(default_factory=list)
    vain: list[str] = field(default_factory=list)
    unanswered: int = 0
    stuck: list[str] = field(default_factory=list)
    lost: int = 0


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Run `count` runs of a server of the embedded model, each under a limit, and one without after each."""
    draw, found, done = random.Random(SEED), Found(), 0
    with tempfile.TemporaryDirectory(prefix="gspn-limit-") as name, memory_group() as group:
        kinds = ["RLIMIT_AS", "RLIMIT_DATA", *(["group"] if group is not None else [])]
        while done < count:
            with serving_limited(Path(name), group) as (address, process):
                while done < count and process.poll() is None:
                    limits = Limits(process, group, kinds[done % len(kinds)])
                    try:
                        target = draw.choice(TARGETS_PX) if (done + 1) % LARGER_EVERY else LARGER_PX
                        run_under(limits, address, Path(name) / "jobs", target, draw, found)
                    except httpx.TransportError:
                        found.unanswered += 1
                    done += 1
                    tell(done)
                found.lost += process.poll() is not None
    kind = "with a control group" if group is not None else "no control group can be made here"
    return [
        Figure(
            what=f"of {count} runs, {kind}, those that met the limit",
            value=found.met,
            bound=count // 10,
            at_least=True,
        ),
        _none("runs that ended without a picture or a sentence about memory", found.unsaid),
        _none("targets that a sentence named and that failed under the same limit", found.vain),
        Figure(what="pages that were not answered under a limit", value=found.unanswered, bound=0),
        _none("later runs without a limit that did not reach their end", found.stuck),
        Figure(what="servers that ended", value=found.lost, bound=0),
    ]


def _none(what: str, found: list[str]) -> Figure:
    return Figure(what=what, value=len(found), bound=0, seen="; ".join(found))


class Limits:
    """A limit of one kind on a server's memory: what it has, and so much more."""

    def __init__(self, process: subprocess.Popen, group: Group | None, kind: str) -> None:
        self.process, self.group, self.kind = process, group, kind

    def leave(self, megabytes: int) -> None:
        """Let the server take so much more than it has."""
        if self.kind == "group":
            self.group.limit(self.group.used_bytes + megabytes * 2**20)
            return
        held = psutil.Process(self.process.pid).memory_info()
        used = held.vms if self.kind == "RLIMIT_AS" else held.data
        self._set(used + megabytes * 2**20)

    def lift(self) -> None:
        """Take the limit away."""
        if self.kind == "group":
            self.group.limit(None)
        elif self.process.poll() is None:
            self._set(WIDE_BYTES)

    def _set(self, limit_bytes: int) -> None:
        kind = getattr(resource, self.kind)
        hard = resource.prlimit(self.process.pid, kind)[1]
        resource.prlimit(self.process.pid, kind, (limit_bytes, hard))


@contextmanager
def serving_limited(folder: Path, group: Group | None) -> Iterator[tuple[Address, subprocess.Popen]]:
    """Serve the embedded model from a process with wide limits, in a control group where there is one."""
    port = free_port()
    flags = ["--jobs", str(folder / "jobs"), "--port", str(port), "--device", "cpu"]
    command = [sys.executable, str(_APP), *flags, "--no-examples", "--no-measuring"]

    def prepare() -> None:
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            resource.setrlimit(kind, (WIDE_BYTES, resource.getrlimit(kind)[1]))
        if group is not None:
            group.join()

    with served_by(command, port, folder / "server.log", prepare) as (address, process):
        # The model is loaded by then, and what a first run makes is there.
        run_of(address, 0, SMALLEST_PX)
        yield address, process


def run_under(
    limits: Limits, address: Address, jobs: Path, target: int, draw: random.Random, found: Found
) -> None:
    """Run once under a limit, do what the sentence says, and run once without it."""
    seed = draw.randrange(10**6)
    megabytes = round(LEAST_MB * (MOST_MB / LEAST_MB) ** draw.random())
    # The kernel ends a process that its group's limit meets within a stage.
    late_seconds = draw.random() * LONGEST_SECONDS if limits.kind != "group" and draw.random() < 0.5 else 0.0
    name = f"{limits.kind} {megabytes} MB after {late_seconds:.1f} s, {target} px"
    try:
        if not late_seconds:
            limits.leave(megabytes)
        run, said = submitted(address, seed, target)
        if late_seconds:
            time.sleep(late_seconds)
            limits.leave(megabytes)
        view = ended(address, run) if run else {"state": "refused", "error": said}
        found.unanswered += not answers(address)
        found.met += view["state"] != "done" or has_stepped_down(jobs / run)
        if view["state"] != "done":
            said = str(view.get("error"))
            if not (is_sentence(said) and "memory" in said and re.search(r"\d", said)):
                found.unsaid.append(f"{name}: {view['state']}, {said}")
            named = re.search(r"try a target of (\d+)", said)
            again = run_of(address, seed, int(named[1])) if named else {"state": "done"}
            if again["state"] != "done":
                found.vain.append(f"{name}: {said} Then: {again['error']}")
    finally:
        limits.lift()
    last = run_of(address, seed + 1, SMALLEST_PX)
    if last["state"] != "done":
        found.stuck.append(f"{name}: {last['error']}")


def run_of(address: Address, seed: int, target: int) -> dict[str, Any]:
    """Return how a run ended."""
    run, said = submitted(address, seed, target)
    return ended(address, run) if run else {"state": "refused", "error": said}


def submitted(address: Address, seed: int, target: int) -> tuple[str, str]:
    """Return the id of a new run, or "" and why it was refused."""
    values = {"prompt": PROMPT, "target": target, "seed": seed, "num_inference_steps": STEPS}
    answer = address.ask(address.event("run"), address.arguments("run", **values))
    if answer.status_code == 200:
        return answer.json()["data"][0], ""
    return "", str(answer.json().get("error"))


def has_stepped_down(folder: Path) -> bool:
    """Return whether a stage of a run began again with options that need less."""
    stages = json.loads((folder / "job.json").read_text("utf-8"))["view"]["stages"]
    return any(stage["retries"] for stage in stages)
