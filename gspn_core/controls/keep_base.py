"""Base restoration: the low band of a finished picture is set to that of the stage before."""

from __future__ import annotations

import torch
from PIL.Image import Image
from torch.nn import functional

from gspn_core.backbones.samples import to_sample
from gspn_core.controls.control import Control, StageSetup
from gspn_core.controls.dilated_branch import dilated_share
from gspn_core.controls.filters import gaussian_blur
from gspn_core.planning.types import Size

# Enlarging and shrinking again is not quite the identity; the second pass restores what the first one missed.
_PASSES = 2


class KeepBase(Control):
    """Restore the low band of the stage before in the decoded sample; see `restore_base`."""

    def __init__(self, image: Image, size: Size, *, weight: float, sigma_px: float) -> None:
        self.image, self.size, self.weight, self.sigma_px = image, size, weight, sigma_px

    @classmethod
    def for_stage(cls, setup: StageSetup) -> KeepBase | None:
        """Return the control of a later stage: its weight and width follow the first step's weights."""
        if not setup.weights:
            return None
        stage, first = setup.stage, setup.weights[0]
        return cls(
            setup.image,
            setup.before,
            weight=stage.settings.keep_base * first.c1 * (1 - dilated_share(first)),
            sigma_px=first.layout_px * stage.scale * setup.before.width / stage.size.width,
        )

    def decoded(self, sample: torch.Tensor) -> torch.Tensor:
        """Return the sample (1, 3, H, W), changed in place."""
        return restore_base(sample, self.image, self.size, weight=self.weight, sigma_px=self.sigma_px)


def restore_base(
    sample: torch.Tensor, before: Image, size: Size, *, weight: float, sigma_px: float
) -> torch.Tensor:
    """Set the low band of a decoded sample to that of the image it was made from, in place.

        sample += weight · enlarge(G_σ(before - shrink(sample)))

    shrink takes means over areas, enlarge is bicubic. At weight 1 and σ 0 the result, shrunk, is `before`:
    detail that the stage added above the band is kept, changes below it are undone (iterative
    back-projection, Irani and Peleg 1991).

    Args:
        sample: (1, 3, H, W) in [-1, 1].
        before: the image of the stage before.
        size: its size in px in the plan; H and W are multiples of it.
        weight: share in [0, 1].
        sigma_px: width of the low-pass G in px of `before`.
    """
    if weight <= 0:
        return sample
    wanted = to_sample(before, size).to(sample.device)
    kernel = sample.shape[2] // size.height, sample.shape[3] // size.width
    for _ in range(1 if sigma_px > 0 else _PASSES):
        apart = gaussian_blur(wanted - functional.avg_pool2d(sample, kernel), sigma_px)
        for channel in range(sample.shape[1]):
            one = apart[:, channel : channel + 1]
            sample[:, channel : channel + 1] += weight * functional.interpolate(
                one, size=sample.shape[2:], mode="bicubic"
            )
    return sample
