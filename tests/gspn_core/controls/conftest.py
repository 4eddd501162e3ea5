from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def later_stage(tiny_model, tiny_conditioning) -> Callable:
    """Return a function from settings to the sampler and the setup of a second stage of 128×192 px."""
    import numpy as np
    import torch
    from PIL import Image

    from gspn_core.cascade.sample import StageSampler
    from gspn_core.controls.control import StageSetup
    from gspn_core.kinds.registry import find_kind
    from gspn_core.planning.types import Size, StagePlan
    from gspn_core.settings import Settings

    asked = {"scheduler": "euler", "upscale_strength": 0.7, "num_inference_steps": 4, "guidance_scale": 3.0}
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    reference = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(5)) * 1.3 + 0.2

    def make(**changes):
        settings = Settings(**{"prompt": "a hill", "seed": 7, "dilated_min_weight": 0.0, **asked, **changes})
        stage = StagePlan(
            index=1,
            kind=find_kind("upscale"),
            px=128,
            ratio=2,
            size=Size(128, 192),
            scale=2,
            num_inference_steps=4,
            steps=3,
            vae_tile_px=None,
            settings=settings,
        )
        sampler = StageSampler(tiny_model, stage, tiny_conditioning)
        setup = StageSetup(
            stage=stage,
            backbone=sampler.backbone,
            weights=sampler.weights,
            reference=reference,
            image=Image.fromarray(pixels),
            before=Size(64, 96),
        )
        return sampler, setup

    return make
