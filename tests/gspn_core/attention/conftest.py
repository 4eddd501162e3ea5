"""A real UNet2DConditionModel at a tiny size, laid out as SDXL's: no attention in the outermost blocks."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

UNET = {
    "sample_size": 16,
    "block_out_channels": (16, 32, 48),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "transformer_layers_per_block": (1, 1, 2),
    "attention_head_dim": (2, 4, 6),
    "cross_attention_dim": 24,
    "norm_num_groups": 8,
    "use_linear_projection": True,
}


@pytest.fixture(scope="session")
def make_unet():
    """Return a function that makes the UNet with the given seed; other keywords change its config."""

    def make(seed: int = 0, **changes) -> UNet2DConditionModel:
        torch.manual_seed(seed)
        return UNet2DConditionModel(**(UNET | changes)).eval()

    return make


@pytest.fixture
def unet(make_unet) -> UNet2DConditionModel:
    return make_unet()


@pytest.fixture
def run_unet():
    """Return a function that runs a UNet on fixed latents of a non-square size."""

    def run(unet: UNet2DConditionModel, height: int = 8, width: int = 12) -> torch.Tensor:
        random = torch.Generator().manual_seed(3)
        latents = torch.randn(2, 4, height, width, generator=random)
        text = torch.randn(2, 5, 24, generator=random)
        with torch.no_grad():
            return unet(latents, 500, text).sample

    return run
