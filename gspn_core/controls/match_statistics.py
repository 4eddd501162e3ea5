"""Matched statistics: the latents of a later stage end with the mean and deviation of its reference."""

from __future__ import annotations

from torch import Tensor

from gspn_core.controls.control import Control, StageSetup
from gspn_core.controls.filters import match_statistics


class MatchStatistics(Control):
    """Set mean and standard deviation per channel to the reference's (1, C, h, w) after the last step."""

    def __init__(self, reference: Tensor, steps: int) -> None:
        self.reference, self.steps = reference, steps

    @classmethod
    def for_stage(cls, setup: StageSetup) -> MatchStatistics | None:
        """Return the control of a later stage."""
        return cls(setup.reference, len(setup.weights)) if setup.weights else None

    def after(self, x: Tensor, i: int) -> Tensor:
        """Return the latents, matched at the last step."""
        return match_statistics(x, self.reference) if i == self.steps - 1 else x
