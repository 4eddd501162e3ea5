"""Engines without weights for the processes of workers, which import this file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gspn_core.errors import Stopped
from gspn_core.events import StepDone
from tests.drills.toy import CARD, paint, plan_of

# A prompt of these words and a path is drawn to its last stage, and goes on once that file is there.
HELD = "held until"
# One with this fails.
BROKEN = "broken"


class ToyEngine:
    """Paints at once, or waits for a file where the prompt says so."""

    def plan(self, settings):
        return plan_of(settings)

    def still_fits(self, _plan) -> bool:
        return True

    def weights(self, plan):
        return tuple(() for _ in plan.stages)

    def model_calls(self, stage) -> int:
        return stage.steps

    def run(self, plan, should_stop, **options):
        prompt = plan.settings.prompt
        if BROKEN in prompt:
            raise RuntimeError("bad luck")
        last = len(plan.stages) - 1
        for event in paint(plan, should_stop, step_seconds=0.0, **options):
            yield event
            if prompt.startswith(HELD) and isinstance(event, StepDone) and event.stage == last:
                wait_for(Path(prompt.removeprefix(HELD).strip()), should_stop)


def wait_for(file: Path, should_stop) -> None:
    """Wait for a file; raise Stopped once should_stop returns True."""
    while not file.exists():
        if should_stop():
            raise Stopped("stopped")
        time.sleep(0.01)


def load_toy() -> tuple[Any, str, str, str]:
    """Return what a worker calls to load its engine."""
    return ToyEngine(), CARD.name, CARD.fingerprint, "a toy"
