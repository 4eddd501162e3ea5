"""The handlers of the studio on a queue with a hand-made engine."""

from collections.abc import Iterator

import pytest

from gspn_core.errors import Stopped
from gspn_core.planning.plan import make_plan
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES
from ui.form.form import initial_values
from ui.studio.handlers import Runs


@pytest.fixture
def values(card) -> dict:
    return {**initial_values(card), "seed": "7"}


@pytest.fixture
def engine(events_of):
    """An engine whose run goes on while `engine.go` is set, and that ends as `engine.end` says."""
    import threading

    class Engine:
        go = threading.Event()
        end: Exception | None = None

        def run(self, plan, should_stop, *, finished=()) -> Iterator:
            for count, event in enumerate(events_of(plan.settings)):
                stage = getattr(event, "stage", len(finished))
                if getattr(stage, "index", stage) < len(finished):
                    continue
                self.go.wait(30)
                if should_stop():
                    raise Stopped("stopped.")
                if self.end is not None and count == 8:
                    raise self.end
                yield event

    engine = Engine()
    engine.go.set()
    yield engine
    engine.go.set()


@pytest.fixture
def jobs(engine, card, tmp_path) -> Iterator[RunQueue]:
    jobs = RunQueue(
        engine.run,
        tmp_path / "jobs",
        plan=lambda settings: make_plan(settings, card),
        max_queued=1,
        view_seconds=0.0,
    )
    yield jobs
    # A run that is held must go on, or closing waits for it.
    engine.go.set()
    jobs.close()


@pytest.fixture
def runs(jobs, card) -> Runs:
    return Runs(jobs, card, machine=lambda: "a machine")


def start(runs: Runs, values: dict) -> Iterator[dict]:
    return runs.start([values[name] for name in FIELD_NAMES])


def screens(patches: list[dict]) -> list[dict]:
    return [patch["screen"] for patch in patches if "screen" in patch]
