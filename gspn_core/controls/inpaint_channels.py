"""The input channels of an inpainting UNet: the mask, and the latents of the picture without what it covers.

    UNet input = [x, m, E(image · (1 - m))]    4 + 1 + 4 channels (1 in m is drawn; grey stands for it in E)

as published SDXL inpainting checkpoints read them. Without a region m is 1 everywhere.
"""

from __future__ import annotations

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional

from gspn_core.backbones.backbone import Extra
from gspn_core.backbones.samples import to_sample
from gspn_core.controls.control import Control, StageSetup
from gspn_core.controls.redraw_region import drawn_mask, share
from gspn_core.planning.types import StagePlan


class InpaintChannels(Control):
    """Give the UNet the mask and the masked picture; channels: (1, 1 + C, h, w)."""

    def __init__(self, channels: Tensor) -> None:
        self.channels = channels

    @classmethod
    def for_stage(cls, setup: StageSetup) -> InpaintChannels | None:
        """Return the control where the masked picture was encoded, that is for an inpainting UNet."""
        if setup.masked is None:
            return None
        mask = functional.interpolate(_drawn(setup.stage), size=setup.masked.shape[-2:])
        return cls(torch.cat([mask.to(setup.masked), setup.masked], dim=1))

    def extra(self, x: Tensor, i: int) -> Extra:
        """Return mask and masked latents, the same in every step."""
        return Extra(channels=self.channels)


def masked_sample(stage: StagePlan, image: Image | None) -> Tensor:
    """Return a picture as a sample (1, 3, H, W) with 0, grey, where the stage draws; for None all is 0."""
    if image is None:
        return torch.zeros(1, 3, stage.size.height, stage.size.width)
    return to_sample(image, stage.size) * (1 - _drawn(stage))


def _drawn(stage: StagePlan) -> Tensor:
    """Return 1 where a stage draws and 0 elsewhere, float32 (1, 1, H, W)."""
    mask = drawn_mask(stage)
    if mask is None:
        return torch.ones(1, 1, stage.size.height, stage.size.width)
    return (share(mask.image) >= 0.5).float()
