"""Text to image: the first stage of a run, from noise."""

from gspn_core.kinds.kind import DENOISING, REFINER, VARIATION, StageKind, refiner_steps
from gspn_core.settings import Settings


class Generate(StageKind):
    """Draw an image of the prompt from noise, at the size that the model was trained at."""

    name = "generate"
    reads = DENOISING | REFINER | VARIATION
    begins_run = True
    encodes = False

    def begins(self, settings: Settings) -> bool:
        return not settings.start

    def steps(self, own: Settings) -> tuple[int, int]:
        refining = refiner_steps(own)
        return own.num_inference_steps + refining, refining
