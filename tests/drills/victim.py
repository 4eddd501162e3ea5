"""A process that runs, favours and notes until it is killed: `python -m tests.drills.victim FOLDER SEED`."""

from __future__ import annotations

import random
import sys
from contextlib import suppress

from gspn_core.errors import GspnError
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from tests.drills.toy import paint, plan_of

# Little enough that pruning goes on all the time.
KEEP_BYTES = 4 * 2**20
VISITOR = "the-visitor-of-this-drill"


def main(folder: str, seed: int) -> None:
    """Submit runs without an end."""
    draw = random.Random(seed)
    jobs = RunQueue(paint, folder, plan=plan_of, keep_bytes=KEEP_BYTES, view_seconds=0.0)
    jobs.claim()
    print("ready", flush=True)
    while True:
        run = jobs.submit(Settings(prompt="a toy", seed=draw.randrange(10**6), target=256), visitor=VISITOR)
        for view in jobs.follow(run):
            if draw.random() < 0.1:
                with suppress(GspnError):
                    jobs.annotate(run, VISITOR, note=f"note {view.version}", favourite=draw.random() < 0.1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
