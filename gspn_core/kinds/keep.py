"""The init image as it is: the first stage of a run that upscales an image."""

from gspn_core.kinds.kind import INIT_IMAGE, StageKind
from gspn_core.settings import Settings


class Keep(StageKind):
    """Take the init image for the first stage; nothing is computed."""

    name = "keep"
    reads = INIT_IMAGE
    begins_run = True
    denoises = False

    def begins(self, settings: Settings) -> bool:
        return bool(settings.start) and not settings.start_strength

    def steps(self, own: Settings) -> tuple[int, int]:  # noqa: ARG002 - the contract's
        return 0, 0
