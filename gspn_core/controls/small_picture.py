"""What the x4 upscaler reads besides its latents: the small picture with noise, and how much that is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gspn_core.backbones.backbone import Extra
from gspn_core.backbones.samples import to_sample
from gspn_core.controls.control import Control, StageSetup
from gspn_core.planning.types import Size

# Apart from the noise of the latents, which has the stage's own number.
_STREAM = 4


class SmallPicture(Control):
    """Give the UNet the picture of the stage before, (1, 3, h, w), noised, and the noise level as a label."""

    def __init__(self, channels: Tensor, noise_level: int) -> None:
        self.channels = channels
        self.labels = torch.tensor([noise_level], device=channels.device)

    @classmethod
    def for_stage(cls, setup: StageSetup) -> SmallPicture | None:
        """Return the control of a stage that the x4 upscaler draws."""
        stage, backbone = setup.stage, setup.backbone
        if stage.backbone != "x4":
            return None
        factor = backbone.codec().factor
        sample = to_sample(setup.image, Size(stage.size.height // factor, stage.size.width // factor))
        noise = torch.randn(sample.shape, generator=noise_generator(stage.settings.seed, stage.index))
        level = stage.settings.noise_level
        channels = backbone.noised(sample.to(backbone.device), noise.to(backbone.device), level)
        return cls(channels, level)

    def extra(self, x: Tensor, i: int) -> Extra:
        """Return the picture and the label, the same in every step."""
        return Extra(channels=self.channels, class_labels=self.labels)


def noise_generator(seed: int, stage: int) -> torch.Generator:
    """Return a CPU generator of the small picture's noise in a stage."""
    state = np.random.SeedSequence((seed, stage, _STREAM)).generate_state(1)
    return torch.Generator("cpu").manual_seed(int(state[0]))
