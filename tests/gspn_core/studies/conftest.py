"""A lab: studies on a queue of runs on the hand-made engine."""

from __future__ import annotations

import pytest

from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from gspn_core.studies.axis import parse_axis
from gspn_core.studies.runner import Studies
from gspn_core.studies.study import StudyView

BASE = Settings(prompt="a lake", seed=3, target=128)


@pytest.fixture
def lab(tmp_path, card):
    """Return a function that opens studies on an engine, in one folder; all are closed at the end."""
    opened = []

    class Lab:
        def __init__(self, engine, folder, adherence=None, **options) -> None:
            self.jobs = RunQueue(engine.run, folder, plan=engine.plan, view_seconds=0.0, **options)
            self.studies = Studies(self.jobs, calls_of=lambda stage: stage.steps, adherence=adherence)
            self.card = card

        def start(self, *axes: tuple, visitor: str = "anna", base: Settings = BASE) -> str:
            parsed = [parse_axis(*axis, self.card) for axis in axes]
            return self.studies.start(self.studies.draft(base, parsed), visitor=visitor)

        def end(self, study_id: str) -> StudyView:
            *_, view = self.studies.follow(study_id)
            return view

        def close(self) -> None:
            self.studies.close()
            self.jobs.close()

    def open_one(engine, folder=tmp_path / "jobs", **options) -> Lab:
        opened.append(Lab(engine, folder, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def states(view: StudyView) -> list[str]:
    return [cell.state for cell in view.cells]
