"""Between pictures (PIL) and samples, tensors in [-1, 1]."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from gspn_core.planning.types import Size


def to_sample(image: Image.Image, size: Size) -> torch.Tensor:
    """Return a picture as a sample in [-1, 1], float32 (1, 3, H, W), resized in RGB (Lanczos) to `size`."""
    if image.size != (size.width, size.height):
        image = image.resize((size.width, size.height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(image.convert("RGB")))
    return pixels.permute(2, 0, 1)[None].float().div_(127.5).sub_(1)


def to_image(sample: torch.Tensor) -> Image.Image:
    """Return a sample (1, 3, H, W) in [-1, 1] as a picture; values outside are clipped."""
    pixels = sample[0].float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())
