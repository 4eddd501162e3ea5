"""Skip residual (DemoFusion, 2311.16973, §3.3): the layout follows the stage before.

    x̂0 = x̂0 + c1·(1 - c2)·blur(z_ref - x̂0)

It acts on the clean estimate, so the noise level stays the scheduler's own at any weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from gspn_core.controls.control import Control, StageSetup
from gspn_core.controls.filters import gaussian_blur
from gspn_core.events import StepWeights

# A smaller weight cannot be seen, and costs a blur.
_LEAST_WEIGHT = 1e-3


class SkipResidual(Control):
    """Pull the estimate's layout towards the reference's.

    Args:
        weights: `held` is the share per step, `layout_px` the width in px of the base above which a structure
            counts as layout.
        reference: encoded picture of the stage before, (1, C, h, w).
        latents_per_px: latents of this stage per px of the base.
    """

    steers = True

    def __init__(self, weights: Sequence[StepWeights], reference: Tensor, latents_per_px: float) -> None:
        self.weights, self.reference, self.latents_per_px = weights, reference, latents_per_px

    @classmethod
    def for_stage(cls, setup: StageSetup) -> SkipResidual | None:
        """Return the control of a later stage."""
        if not setup.weights:
            return None
        return cls(setup.weights, setup.reference, setup.stage.scale / setup.backbone.codec().factor)

    def denoised(self, estimate: Tensor, i: int) -> Tensor:
        """Return the estimate (1, C, h, w) with its layout pulled towards the reference's."""
        weights = self.weights[i]
        if weights.held < _LEAST_WEIGHT:
            return estimate
        sigma = weights.layout_px * self.latents_per_px
        # One latent holds both layout and detail of its own px, so they cannot be separated below one latent.
        return estimate + weights.held * gaussian_blur(self.reference - estimate, math.hypot(sigma, 1.0))
