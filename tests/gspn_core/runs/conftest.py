"""A queue of runs on the hand-made engine, and the settings of most of its runs."""

from __future__ import annotations

import pytest

from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings

SETTINGS = Settings(prompt="a lake", seed=3)


@pytest.fixture
def open_jobs(tmp_path):
    """Return a function that opens RunQueue on an engine; they are closed at the end."""
    opened = []

    def open_one(engine, **options) -> RunQueue:
        opened.append(
            RunQueue(engine.run, tmp_path / "jobs", plan=engine.plan, **{"view_seconds": 0.0, **options})
        )
        return opened[-1]

    yield open_one
    for jobs in opened:
        jobs.close()


def last(jobs: RunQueue, job_id: str):
    """Return the view with which following a run ends."""
    *_, view = jobs.follow(job_id)
    return view


def again(**changes) -> Settings:
    return Settings(**{**SETTINGS.to_dict(), **changes})
