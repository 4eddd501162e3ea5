"""What a stage is: the contract that planner, cache keys, runs and page read."""

from __future__ import annotations

import math
from typing import ClassVar

from PIL.Image import Image, Resampling

from gspn_core.settings import FIELD_NAMES, STARTING, Settings

# Settings that a stage's record has as fields (its size, its steps), or that decide its place.
PLACING = frozenset({"start_px", "target", "aspect", "ladder", "num_inference_steps", "overrides"})
REGION = frozenset({"region", "region_feather"})
INIT_IMAGE = frozenset(STARTING) - PLACING - REGION
REFINER = frozenset({"refiner", "refiner_start", "aesthetic_score", "negative_aesthetic_score"})
UPSCALE = frozenset(
    {
        "upscale_strength",
        "gaussian_sigma",
        "cosine_scale_1",
        "cosine_scale_2",
        "cosine_scale_3",
        "keep_base",
        "dilated_min_weight",
        "dilation_scope",
        "dilation_use",
        "dilation_until",
    }
)
# Settings of every stage that denoises: prompts, guidance, sampler, seed, mixer.
DENOISING = frozenset(FIELD_NAMES) - PLACING - INIT_IMAGE - REGION - REFINER - UPSCALE


class StageKind:
    """What a stage is. A kind is a subclass in a file of its own and one row of `gspn_core.kinds.registry`.

    Attributes:
        name: by which a ladder, a record and the page name it.
        reads: settings that its image depends on, besides its size and steps; they make its cache key.
        begins_run: it is the first stage of a run; any other kind follows a stage.
        denoises: the model is evaluated; otherwise the stage is an image as it was given.
        encodes: it begins from an image rather than from noise.
        ratios: sizes it may have against the stage before; None for any.
        needs: parts that a model must have for it, such as "refiner".
        maths: version, to be raised when the same settings draw another picture; None for a kind that has
            only the version of all stages (`gspn_core.planning.keys.MATHS_VERSION`).
    """

    name: ClassVar[str]
    reads: ClassVar[frozenset[str]]
    begins_run: ClassVar[bool] = False
    denoises: ClassVar[bool] = True
    encodes: ClassVar[bool] = True
    ratios: ClassVar[frozenset[int] | None] = None
    needs: ClassVar[frozenset[str]] = frozenset()
    maths: ClassVar[int | str | None] = None

    def begins(self, settings: Settings) -> bool:  # noqa: ARG002 - for those that begin a run
        """Return whether a run of these settings begins with a stage of this kind."""
        return False

    def steps(self, own: Settings) -> tuple[int, int]:
        """Return the steps of a stage, and how many of them, the last, the refiner repeats.

        Args:
            own: the run's settings with the stage's overrides in place, no None left in them.
        """
        raise NotImplementedError

    def takes(self, name: str) -> bool:
        """Return whether a stage of this kind has a use for an own value of the setting `name`."""
        return self.denoises and (name in self.reads or name == "num_inference_steps")

    def picture(self, source: Image, height: int, width: int) -> Image:
        """Return the image, height × width px, of a stage in which nothing is denoised.

        Args:
            source: the image of the stage before, or the init image where that was kept.
        """
        return source.resize((width, height), Resampling.LANCZOS)

    def refines(self, own: Settings) -> bool:
        """Return whether the refiner takes part in a stage of this kind."""
        return "refiner" in self.reads and own.refiner != "none"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<stage kind {self.name}>"


def steps_from_level(num_inference_steps: int, strength: float) -> int:
    """Return ceil(N · strength), at least 1: the steps of a stage that starts at that noise level."""
    return min(num_inference_steps, max(1, math.ceil(round(num_inference_steps * strength, 6))))


def refiner_steps(own: Settings) -> int:
    """Return how many steps the refiner repeats on a finished image, 0 where it has another part or none."""
    if own.refiner != "image":
        return 0
    return steps_from_level(own.num_inference_steps, 1 - own.refiner_start)
