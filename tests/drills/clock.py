"""A clock that jumps, both ways, while runs are made, pruned and listed."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from gspn_core.errors import GspnError
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from tests.drills.figures import Figure
from tests.drills.toy import paint, plan_of
from tests.drills.victim import KEEP_BYTES, VISITOR

SEED = 20261128
FAR_SECONDS = 20 * 365 * 86_400


@contextmanager
def jumping() -> Iterator[Callable[[float], None]]:
    """Set the clock of this process by what is called with an offset in seconds, until the block ends."""
    own, offset = time.time, 0.0

    def jump(seconds: float) -> None:
        nonlocal offset
        offset = seconds

    time.time = lambda: own() + offset
    try:
        yield jump
    finally:
        time.time = own


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Run `count` runs, the clock jumping before each, with a quota that only a few fit into."""
    draw, lost_images, lost_runs, lists = random.Random(SEED), 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="gspn-clock-") as name, jumping() as jump:
        photograph = Path(name) / "photograph.png"
        Image.effect_noise((96, 96), 60).convert("RGB").save(photograph)
        folder = Path(name) / "jobs"
        for done in range(count):
            jobs = RunQueue(paint, folder, plan=plan_of, keep_bytes=KEEP_BYTES, view_seconds=0.0)
            try:
                start = jobs.take_start(photograph, "photograph.png", visitor=VISITOR)
                runs = []
                for _ in range(2):
                    jump(draw.uniform(-FAR_SECONDS, FAR_SECONDS))
                    settings = Settings(prompt="a toy", seed=draw.randrange(10**6), target=256)
                    runs.append(jobs.submit(settings, visitor=VISITOR))
                    list(jobs.follow(runs[-1]))
                lost_images += _is_gone(lambda start=start, jobs=jobs: jobs.start_proxy(start))
                # The two newest runs fit into the quota, so none of them may have been removed.
                lost_runs += sum(_is_gone(lambda run=run, jobs=jobs: jobs.view(run)) for run in runs)
                listed = [summary.id for summary in jobs.history(VISITOR)]
                lists += listed[:2] != runs[::-1]
            finally:
                jobs.close()
            tell(done + 1)
    return [
        Figure(what=f"init images that vanished over {2 * count} jumps", value=lost_images, bound=0),
        Figure(what="newest runs that were removed for the quota", value=lost_runs, bound=0),
        Figure(what="histories in another order than that of the runs", value=lists, bound=0),
    ]


def _is_gone(find: Callable[[], object]) -> bool:
    try:
        return find() is None
    except GspnError:
        return True
