"""kill -9 at random times, and what is found on the disk afterwards."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from gspn_core.errors import GspnError
from gspn_core.images.png import read_picture
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RunView
from gspn_core.settings import Settings
from tests.drills.figures import Figure
from tests.drills.toy import paint, painted, plan_of
from tests.drills.victim import KEEP_BYTES, VISITOR

LONGEST_SECONDS = 1.2
SEED = 20261128


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Kill a server of runs `count` times in one folder and look at all that is left each time."""
    draw = random.Random(SEED)
    faults: dict[str, int] = dict.fromkeys(("unreadable", "half", "lost", "not resumed"), 0)
    cut_off: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="gspn-kills-") as folder:
        for done in range(count):
            kill_one(folder, draw)
            jobs = RunQueue(paint, folder, plan=plan_of, keep_bytes=KEEP_BYTES, view_seconds=0.0)
            try:
                look(jobs, Path(folder), faults, cut_off)
            finally:
                jobs.close()
            tell(done + 1)
    return [
        Figure(what=f"records that cannot be read after {count} kills", value=faults["unreadable"], bound=0),
        Figure(what="half or wrong pictures that a record names", value=faults["half"], bound=0),
        Figure(what="finished stages that a resumed run made again", value=faults["lost"], bound=0),
        Figure(what="cut-off runs that did not resume to the end", value=faults["not resumed"], bound=0),
        Figure(what="runs that a kill cut off", value=len(cut_off), bound=count // 2, at_least=True),
    ]


def kill_one(folder: str, draw: random.Random) -> None:
    """Start a victim in a folder and kill it at a time that is drawn."""
    command = [sys.executable, "-m", "tests.drills.victim", folder, str(draw.randrange(10**6))]
    victim = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert victim.stdout is not None
        if victim.stdout.readline() != "ready\n":
            raise RuntimeError("the victim of the drill did not start")
        time.sleep(draw.random() * LONGEST_SECONDS)
    finally:
        victim.kill()
        victim.wait()
        victim.stdout.close()


def look(jobs: RunQueue, folder: Path, faults: dict[str, int], cut_off: set[str]) -> None:
    """Count what is wrong with the runs in a folder; resume those that were cut off since the last look."""
    new = []
    for record in folder.glob("*/job.json"):
        try:
            json.loads(record.read_text("utf-8"))
            view = jobs.view(record.parent.name)
        except (ValueError, GspnError):
            faults["unreadable"] += 1
            continue
        faults["half"] += sum(not whole(view, index) for index in range(len(view.stages)))
        if view.state == "interrupted" and view.id not in cut_off:
            new.append(view)
    for view in new:
        resumed(jobs, view, faults)
    cut_off.update(view.id for view in new)


def whole(view: RunView, index: int) -> bool:
    """Return whether every picture of a stage that the record names is there, whole and the right one."""
    stage = view.stages[index]
    if stage.proxy_path:
        try:
            with Image.open(stage.proxy_path) as image:
                image.load()
        except OSError:
            return False
    if stage.tiles_path and not list(Path(stage.tiles_path).rglob("*.jpg")):
        return False
    if not stage.png_path:
        return True
    made = read_picture(Path(stage.png_path))
    plan = plan_of(Settings.from_dict(view.settings))
    return made is not None and made.tobytes() == painted(plan.stages[index]).tobytes()


def resumed(jobs: RunQueue, view: RunView, faults: dict[str, int]) -> None:
    """Resume a run that was cut off, and count what it made again although it was finished."""
    finished = 0
    for stage in view.stages:
        if not (stage.state == "done" and stage.png_path and stage.digest):
            break
        finished += 1
    again = jobs.resume(view.id, visitor=VISITOR)
    ended = [*jobs.follow(again)][-1]
    faults["not resumed"] += ended.state != "done"
    faults["lost"] += sum(not stage.reused for stage in ended.stages[:finished])
