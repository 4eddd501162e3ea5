"""A region of the init image is redrawn, the rest of it stays.

    x̂0 = m·x̂0 + (1 - m)·z_ref          in every step, m the region in latents
    picture = f·picture + (1 - f)·image   once decoded, f the region in px, feathered to its inside

Replacing the clean estimate keeps the rest at the noise level of the step under any sampler; for Euler and
DDIM it is the noised image itself, as in blended diffusion (2206.02779). Where f is 0 the image's bytes stay.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional

from gspn_core.backbones.samples import to_sample
from gspn_core.controls.control import Control, StageSetup
from gspn_core.region import Region, parse_region

# A feathered mask that reaches this somewhere has a core that is redrawn whole.
_CORE = 250


class RedrawRegion(Control):
    """Hold all but a region to the init image.

    Args:
        reference: the encoded init image, (1, C, h, w).
        image: that image as a sample, (1, 3, H, W).
        inside: 1 in the latents that the region touches, (1, 1, h, w).
        blend: share of the redrawn picture, (1, 1, H, W), see `feathered`.
    """

    steers = True

    def __init__(self, reference: Tensor, image: Tensor, inside: Tensor, blend: Tensor) -> None:
        self.reference, self.image, self.inside, self.blend = reference, image, inside, blend

    @classmethod
    def for_stage(cls, setup: StageSetup) -> RedrawRegion | None:
        """Return the control of a first stage whose settings have a region."""
        settings, size = setup.stage.settings, setup.stage.size
        region = parse_region(settings.region)
        if region is None or setup.reference is None or not setup.stage.kind.begins_run:
            return None
        mask = region.mask(size.height, size.width)
        inside = functional.max_pool2d(_share(mask), setup.backbone.codec().factor)
        return cls(
            setup.reference,
            to_sample(setup.image, size),
            inside.to(setup.reference.device),
            _share(feathered(mask, region, settings.region_feather)),
        )

    def denoised(self, estimate: Tensor, i: int) -> Tensor:
        """Return the estimate (1, C, h, w) in the region and the init image elsewhere."""
        return torch.where(self.inside > 0, estimate, self.reference)

    def decoded(self, sample: Tensor) -> Tensor:
        """Return the sample (1, 3, H, W) in the region and the init image elsewhere."""
        image, blend = self.image.to(sample.device), self.blend.to(sample.device)
        return torch.where(blend > 0, torch.lerp(image, sample, blend), image)


def feathered(mask: Image.Image, region: Region, feather_px: float) -> Image.Image:
    """Return a mask that rises from 0 at its edge to 255 over feather_px towards its inside, "L".

    Thin shapes get less, so that their middle is redrawn whole; nothing outside of the mask is touched.
    """
    radius = min(feather_px, region.thickness(mask.height, mask.width)) / 2
    while radius >= 0.5:
        # A blurred straight edge has one half at the edge itself.
        blurred = np.asarray(mask.filter(ImageFilter.GaussianBlur(radius)))
        soft = np.minimum(np.asarray(mask), np.maximum(2 * blurred.astype(np.int16) - 255, 0))
        if soft.max() >= _CORE:
            return Image.fromarray(soft.astype(np.uint8))
        radius /= 2
    return mask


def _share(mask: Image.Image) -> Tensor:
    """Return a mask as shares in [0, 1], (1, 1, H, W)."""
    return torch.from_numpy(np.array(mask))[None, None].float() / 255
