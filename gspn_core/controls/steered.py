"""A ControlNet or a T2I-Adapter takes part in some of a stage's steps.

It reads its picture at the stage's size: the largest centre crop of the stage's aspect, resized by Lanczos.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gspn_core.backbones.backbone import NO_EXTRA, Extra
from gspn_core.backbones.conditions import Condition
from gspn_core.controls.control import Control, StageSetup
from gspn_core.planning.types import Size


class Steered(Control):
    """Hand the condition to the UNet in the steps between its start and its end."""

    def __init__(self, condition: Condition, steps: int) -> None:
        self.condition, self.steps = condition, steps

    @classmethod
    def for_stage(cls, setup: StageSetup) -> Steered | None:
        """Return the control of a stage that has a condition."""
        own = setup.stage.condition
        if own is None:
            return None
        picture = hint(setup.control_image, setup.stage.size, setup.network.config)
        condition = Condition(network=setup.network, picture=picture.to(setup.backbone.device), stage=own)
        return cls(condition, setup.stage.steps - setup.stage.refiner_steps)

    def extra(self, x: Tensor, i: int) -> Extra:
        """Return the condition in its steps, nothing in others."""
        if not self.condition.stage.takes_part(i, self.steps):
            return NO_EXTRA
        return Extra(conditions=(self.condition,))


def hint(image: Image.Image, size: Size, config: dict) -> Tensor:
    """Return a picture of a stage's aspect as a network reads it, (1, 1 or 3, H, W) in [0, 1].

    config: the network's; T2I-Adapters that read one channel get a greyscale picture.
    """
    mode = "L" if config.get("in_channels") == 1 else "RGB"
    resized = image.resize((size.width, size.height), Image.Resampling.LANCZOS).convert(mode)
    levels = torch.from_numpy(np.array(resized)).float().div(255)
    return levels[None, None] if mode == "L" else levels.permute(2, 0, 1)[None]
