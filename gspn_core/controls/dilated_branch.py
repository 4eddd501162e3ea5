"""Dilated branch: a second prediction by a UNet that sees as far as it did at the size it was trained at.

    p = (1 - c2)·p + c2·guided(dilated UNet(blur(x), t))    where c2 is large enough

Scopes: "down" the down blocks and the middle block (restrained dilation), "deep" the residual convolutions of
the last down block, the downsampler before it and the middle block (FreeScale, arXiv 2412.09626), "all" every
block's 3×3 convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from gspn_core.attention.neighborhood import strided_windows
from gspn_core.backbones.backbone import Backbone
from gspn_core.controls.control import Control, Predict, StageSetup
from gspn_core.controls.filters import gaussian_blur, match_statistics
from gspn_core.events import StepWeights
from gspn_core.planning.types import StagePlan
from gspn_core.settings import DilationScope


class DilatedBranch(Control):
    """Mix the dilated UNet's prediction into the guided one, or replace it where settings say "main"."""

    def __init__(self, stage: StagePlan, backbone: Backbone, weights: Sequence[StepWeights]) -> None:
        self.settings, self.factor = stage.settings, stage.scale
        self.backbone, self.weights = backbone, weights

    @classmethod
    def for_stage(cls, setup: StageSetup) -> DilatedBranch | None:
        """Return the control of a later stage."""
        return cls(setup.stage, setup.backbone, setup.weights) if setup.weights else None

    @classmethod
    def evaluations(cls, stage: StagePlan, weights: Sequence[StepWeights]) -> tuple[int, ...]:
        """Return 1 for each step with a second prediction."""
        return tuple(int(step.dilated and stage.settings.dilation_use == "branch") for step in weights)

    def attached(self, backbone: Backbone, i: int) -> AbstractContextManager[None]:
        """Dilate the UNet for the whole step where the dilated prediction replaces the guided one."""
        if self.settings.dilation_use == "main" and self.weights[i].dilated:
            return dilated(backbone.net, self.factor, self.settings.dilation_scope)
        return nullcontext()

    def predicted(self, noise_pred: Tensor, x: Tensor, i: int, predict: Predict) -> Tensor:
        """Return the mix of both predictions."""
        weights, settings = self.weights[i], self.settings
        if not weights.dilated or settings.dilation_use == "main":
            return noise_pred
        # One latent at the base's size covers `factor` of this stage's; the blur removes what the dilated
        # convolutions would alias.
        sigma = settings.gaussian_sigma * weights.c3 * self.factor
        blurred = match_statistics(gaussian_blur(x, sigma), x)
        with dilated(self.backbone.net, self.factor, settings.dilation_scope):
            other = predict(blurred)
        return (1 - weights.c2) * noise_pred + weights.c2 * other


def dilated_share(weights: StepWeights) -> float:
    """Return the share of a step's prediction that is the dilated UNet's; its layout is not held."""
    return weights.c2 if weights.dilated else 0.0


@contextmanager
def dilated(unet: UNet2DConditionModel, factor: int, scope: DilationScope) -> Iterator[None]:
    """Dilate the UNet's 3×3 convolutions by `factor` in the `with` block; they are restored at its end.

    Neighbourhood attention, where it is in use, strides over the whole map instead of attending in windows.
    """
    changed = dilated_layers(unet, scope)
    before = [(module.dilation, module.padding) for module in changed]
    try:
        for module in changed:
            module.dilation = module.padding = (factor, factor)
        with strided_windows(unet):
            yield
    finally:
        for module, (old_dilation, old_padding) in zip(changed, before, strict=True):
            module.dilation, module.padding = old_dilation, old_padding


def dilated_layers(unet: UNet2DConditionModel, scope: DilationScope) -> list[nn.Conv2d]:
    """Return the convolutions of a scope. Those with a stride are left out, except in "deep"."""
    if scope == "deep":
        *_, last = unet.down_blocks
        parts = [last.resnets, unet.mid_block.resnets]
        before = unet.down_blocks[-2] if len(unet.down_blocks) > 1 else None
        if before is not None and before.downsamplers is not None:
            parts.append(before.downsamplers)
        return [module for part in parts for module in _convolutions(part)]
    blocks = [*unet.down_blocks, unet.mid_block, *(unet.up_blocks if scope == "all" else ())]
    return [module for block in blocks for module in _convolutions(block) if module.stride == (1, 1)]


def _convolutions(part: nn.Module) -> list[nn.Conv2d]:
    return [m for m in part.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
