"""Engines without weights for the processes of workers, which import this file."""

from __future__ import annotations

from typing import Any

from tests.drills.toy import CARD, paint, plan_of

# A prompt with this word takes its time.
SLOW = "slow"
# One with this fails.
BROKEN = "broken"


class ToyEngine:
    """Paints at once, or a step in a tenth of a second where the prompt says so."""

    def plan(self, settings):
        return plan_of(settings)

    def still_fits(self, _plan) -> bool:
        return True

    def weights(self, plan):
        return tuple(() for _ in plan.stages)

    def model_calls(self, stage) -> int:
        return stage.steps

    def run(self, plan, should_stop, **options):
        if BROKEN in plan.settings.prompt:
            raise RuntimeError("bad luck")
        seconds = 0.1 if SLOW in plan.settings.prompt else 0.0
        return paint(plan, should_stop, step_seconds=seconds, **options)


def load_toy() -> tuple[Any, str, str, str]:
    """Return what a worker calls to load its engine."""
    return ToyEngine(), CARD.name, CARD.fingerprint, "a toy"
