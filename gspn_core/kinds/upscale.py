"""The cascade's own step: the image of the stage before, enlarged, noised and denoised at the new size."""

from gspn_core.kinds.kind import DENOISING, UPSCALE, StageKind, steps_from_level
from gspn_core.settings import Settings


class Upscale(StageKind):
    """Denoise the enlarged image from the noise level `upscale_strength` on, held to what it was given."""

    name = "upscale"
    reads = DENOISING | UPSCALE
    maths = 4

    def steps(self, own: Settings) -> tuple[int, int]:
        return steps_from_level(own.num_inference_steps, own.upscale_strength), 0
