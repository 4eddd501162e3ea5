"""One pass of the model's super-resolution network: the image of the stage before, 2 or 4 times as large."""

from gspn_core.kinds.kind import SUPERRES, StageKind
from gspn_core.settings import Settings


class SuperResolution(StageKind):
    """Enlarge the image of the stage before by a network that learnt true detail; nothing is sampled."""

    name = "sr"
    # It draws what the small image cannot tell from noise.
    reads = frozenset({"seed"})
    denoises = False
    encodes = False
    ratios = frozenset({2, 4})
    needs = frozenset({SUPERRES})
    maths = "sr 1"

    def steps(self, own: Settings) -> tuple[int, int]:  # noqa: ARG002 - the contract's
        return 0, 0
