"""A region of the init image is redrawn, or parts that are added to it are drawn; the rest of it stays.

    x̂0 = m·x̂0 + (1 - m)·z_ref          in every step, m the region in latents
    picture = f·picture + (1 - f)·image   once decoded, f the region in px, feathered to its inside

Replacing the clean estimate keeps the rest at the noise level of the step under any sampler; for Euler and
DDIM it is the noised image itself, as in blended diffusion (2206.02779). Where f is 0 the image's bytes stay.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional

from gspn_core.backbones.samples import to_sample
from gspn_core.controls.control import Control, StageSetup
from gspn_core.extension import NO_MARGINS
from gspn_core.planning.types import StagePlan
from gspn_core.region import parse_region

# A feathered mask that reaches this somewhere has a core that is redrawn whole.
_CORE = 250


class RedrawRegion(Control):
    """Hold all but a region to the init image.

    Args:
        reference: the encoded init image, (1, C, h, w).
        image: that image as a sample, (1, 3, H, W).
        inside: 1 in the latents that the region touches, (1, 1, h, w).
        blend: share of the redrawn picture, (1, 1, H, W), see `feathered`.
        steers: False for a network that reads the mask itself; then only the finished picture is blended.
    """

    def __init__(
        self, reference: Tensor, image: Tensor, inside: Tensor, blend: Tensor, *, steers: bool = True
    ) -> None:
        self.reference, self.image, self.inside, self.blend = reference, image, inside, blend
        self.steers = steers

    @classmethod
    def for_stage(cls, setup: StageSetup) -> RedrawRegion | None:
        """Return the control of a first stage whose settings have a region."""
        settings, size = setup.stage.settings, setup.stage.size
        mask = drawn_mask(setup.stage)
        if mask is None or setup.reference is None:
            return None
        inside = functional.max_pool2d(share(mask.image), setup.backbone.codec().factor)
        return cls(
            setup.reference,
            to_sample(setup.image, size),
            inside.to(setup.reference.device),
            share(feathered(mask.image, min(mask.thickness, settings.region_feather))),
            steers=setup.masked is None,
        )

    def denoised(self, estimate: Tensor, i: int) -> Tensor:
        """Return the estimate (1, C, h, w) in the region and the init image elsewhere."""
        return torch.where(self.inside > 0, estimate, self.reference) if self.steers else estimate

    def decoded(self, sample: Tensor) -> Tensor:
        """Return the sample (1, 3, H, W) in the region and the init image elsewhere."""
        image, blend = self.image.to(sample.device), self.blend.to(sample.device)
        return torch.where(blend > 0, torch.lerp(image, sample, blend), image)


class Mask(NamedTuple):
    """The part of a picture that is drawn.

    Attributes:
        image: 255 inside, 0 elsewhere, "L".
        thickness: half the width in px of its thinnest shape.
    """

    image: Image.Image
    thickness: float


def drawn_mask(stage: StagePlan) -> Mask | None:
    """Return what a first stage draws of its init image, None for all of it and for other stages.

    Of an extended image those are the new parts and a border of `region_feather` px next to each, over which
    they fade in, at most a quarter of the image's side; and the region, which is one of the image itself.
    """
    if not stage.kind.begins_run:
        return None
    size, margins, region = stage.size, stage.margins, parse_region(stage.settings.region)
    if margins == NO_MARGINS:
        if region is None:
            return None
        return Mask(region.mask(size.height, size.width), region.thickness(size.height, size.width))
    inner, feather = size.within(margins), round(stage.settings.region_feather)
    wide, high = min(feather, inner.width // 4), min(feather, inner.height // 4)
    mask = Image.new("L", (size.width, size.height), 255)
    left, right, top, bottom = (
        margin and margin + border for margin, border in zip(margins, (wide, wide, high, high), strict=True)
    )
    mask.paste(0, (left, top, size.width - right, size.height - bottom))
    thickness = min(width for width in (left, right, top, bottom) if width) / 2
    if region is not None:
        own = region.mask(inner.height, inner.width)
        mask.paste(own, (margins.left, margins.top), own)
        thickness = min(thickness, region.thickness(inner.height, inner.width))
    return Mask(mask, thickness)


def feathered(mask: Image.Image, feather_px: float) -> Image.Image:
    """Return a mask that rises from 0 at its edge to 255 over feather_px towards its inside, "L".

    Thin shapes get less, so that their middle is redrawn whole; nothing outside of the mask is touched.
    """
    radius = feather_px / 2
    while radius >= 0.5:
        # A blurred straight edge has one half at the edge itself.
        blurred = np.asarray(mask.filter(ImageFilter.GaussianBlur(radius)))
        soft = np.minimum(np.asarray(mask), np.maximum(2 * blurred.astype(np.int16) - 255, 0))
        if soft.max() >= _CORE:
            return Image.fromarray(soft.astype(np.uint8))
        radius /= 2
    return mask


def share(mask: Image.Image) -> Tensor:
    """Return a mask as shares in [0, 1], (1, 1, H, W)."""
    return torch.from_numpy(np.array(mask))[None, None].float() / 255
