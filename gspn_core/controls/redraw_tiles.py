"""Tiles of a later stage are redrawn; the rest of it is the enlarged image of the stage before.

picture = f·picture + (1 - f)·enlarged     f the tiles in px, feathered to their inside

Where f is 0 the enlarged image's bytes stay.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from gspn_core.backbones.samples import to_sample
from gspn_core.controls.control import Control, StageSetup
from gspn_core.controls.redraw_region import feathered, share
from gspn_core.planning.types import Size


class RedrawTiles(Control):
    """Put the enlarged image back where no tile is.

    Args:
        image: that the stage starts from.
        size: of the stage.
        blend: share of the redrawn picture, (1, 1, H, W).
    """

    def __init__(self, image: Image.Image, size: Size, blend: Tensor) -> None:
        self.image, self.size, self.blend = image, size, blend

    @classmethod
    def for_stage(cls, setup: StageSetup) -> RedrawTiles | None:
        """Return the control of a stage of which not all tiles are drawn."""
        stage, size = setup.stage, setup.stage.size
        if not setup.crops:
            return None
        mask = Image.new("L", (size.width, size.height), 0)
        for top, left, height, width in setup.crops:
            mask.paste(255, (left, top, left + width, top + height))
        if mask.getextrema() == (255, 255):
            return None
        return cls(setup.image, size, share(feathered(mask, stage.tiling.overlap)))

    def decoded(self, sample: Tensor) -> Tensor:
        """Return the sample (1, 3, H, W) in the tiles and the enlarged image elsewhere."""
        image, blend = to_sample(self.image, self.size).to(sample.device), self.blend.to(sample.device)
        return torch.where(blend > 0, torch.lerp(image, sample, blend), image)
