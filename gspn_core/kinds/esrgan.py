"""One pass of an upscaler model of the ESRGAN family over the image of the stage before."""

from gspn_core.kinds.kind import UPSCALER, StageKind
from gspn_core.settings import Settings


class Esrgan(StageKind):
    """Enlarge the image of the stage before by the model of the setting `upscaler`; nothing is sampled.

    Where the model's scale is not that of the stage, its image is resized by Lanczos.
    """

    name = "esrgan"
    reads = frozenset({"upscaler"})
    denoises = False
    encodes = False
    needs = frozenset({UPSCALER})
    maths = "esrgan 1"

    def steps(self, own: Settings) -> tuple[int, int]:  # noqa: ARG002 - the contract's
        return 0, 0

    def takes(self, name: str) -> bool:
        return name in self.reads
