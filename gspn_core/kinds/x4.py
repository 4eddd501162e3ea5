"""Stable Diffusion's x4 upscaler: four times the image of the stage before, sampled from noise."""

from gspn_core.kinds.kind import CONTROL, DENOISING, FREEU, X4_PART, X4_SETTINGS, StageKind
from gspn_core.settings import Settings

# Of SDXL's own networks.
_NOT_READ = frozenset({"mixer", "original_scale", "target_scale", "crop_top", "crop_left"}) | CONTROL | FREEU


class X4(StageKind):
    """Sample latents from noise with the small image, noised to `noise_level`, as further input channels."""

    name = "x4"
    reads = DENOISING - _NOT_READ | X4_SETTINGS
    encodes = False
    ratios = frozenset({4})
    needs = frozenset({X4_PART})
    backbone = "x4"
    maths = "x4 1"

    def steps(self, own: Settings) -> tuple[int, int]:
        return own.num_inference_steps, 0
