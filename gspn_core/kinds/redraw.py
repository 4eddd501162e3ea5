"""Image to image: the init image, noised to the denoising strength and denoised again at its own size."""

from gspn_core.kinds.kind import (
    DENOISING,
    INIT_IMAGE,
    REFINER,
    REGION,
    VARIATION,
    StageKind,
    refiner_steps,
    steps_from_level,
)
from gspn_core.settings import Settings


class Redraw(StageKind):
    """Denoise the init image from the noise level `start_strength` on (SDEdit, Meng et al., 2022)."""

    name = "redraw"
    reads = DENOISING | REFINER | INIT_IMAGE | REGION | VARIATION
    begins_run = True
    maths = 4

    def begins(self, settings: Settings) -> bool:
        return bool(settings.start) and bool(settings.start_strength)

    def steps(self, own: Settings) -> tuple[int, int]:
        refining = refiner_steps(own)
        return steps_from_level(own.num_inference_steps, own.start_strength) + refining, refining
