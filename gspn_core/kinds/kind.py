"""What a stage is: the contract that planner, cache keys, runs and page read."""

from __future__ import annotations

import math
from typing import ClassVar

from PIL.Image import Image, Resampling

from gspn_core.settings import FIELD_NAMES, STARTING, Settings

# Settings that a stage's record has as fields (its size, its steps), or that decide its place.
PLACING = frozenset({"start_px", "target", "aspect", "ladder", "num_inference_steps", "overrides"})
REGION = frozenset({"region", "region_feather", "extend"})
INIT_IMAGE = frozenset(STARTING) - PLACING - REGION
REFINER = frozenset({"refiner", "refiner_start", "aesthetic_score", "negative_aesthetic_score"})
# The starting noise of the first stage.
VARIATION = frozenset({"variation_seed", "variation_strength"})
# What holds a later stage to the one before, and what dilates its UNet.
HOLDING = frozenset({"upscale_strength", "gaussian_sigma", "cosine_scale_1", "cosine_scale_3", "keep_base"})
DILATION = frozenset(
    {"cosine_scale_2", "dilated_min_weight", "dilation_scope", "dilation_use", "dilation_until"}
)
UPSCALE = HOLDING | DILATION
TILING = frozenset({"tile_share"})
# The ControlNet or T2I-Adapter, which every stage reads that the base model draws.
CONTROL = frozenset(
    {"control", "control_type", "control_image", "control_scale", "control_start", "control_end"}
)
# What changes the maps within the UNet's up blocks.
FREEU = frozenset({"freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2"})
# Settings of the stages that another model draws.
UPSCALERS = frozenset({"upscaler"})
X4_SETTINGS = frozenset({"noise_level"})
OTHER_MODELS = UPSCALERS | X4_SETTINGS
_OTHERS = INIT_IMAGE | REGION | REFINER | VARIATION | UPSCALE | TILING | OTHER_MODELS
# Settings of every stage that denoises: prompts, guidance, sampler, seed, mixer, control.
DENOISING = frozenset(FIELD_NAMES) - PLACING - _OTHERS

# A part that a model may have: a network that enlarges its pictures in one pass.
SUPERRES = "super-resolution network"
# A folder of upscaler models that is given next to the model.
UPSCALER = "upscaler model"
# Stable Diffusion's x4 upscaler, given likewise.
X4_PART = "x4 upscaler"
# How each part that is not the model's own is given.
GIVEN_BY = {UPSCALER: "--upscalers DIR", X4_PART: "--x4 x4-upscaler"}


class StageKind:
    """What a stage is. A kind is a subclass in a file of its own and one row of `gspn_core.kinds.registry`.

    Attributes:
        name: by which a ladder, a record and the page name it.
        reads: settings that its image depends on, besides its size and steps; they make its cache key.
        begins_run: it is the first stage of a run; any other kind follows a stage.
        denoises: the model is evaluated; otherwise the stage is an image as it was given.
        encodes: it begins from an image rather than from noise.
        tiled: the UNet draws tiles of it, see `gspn_core.kinds.tiles`.
        ratios: sizes it may have against the stage before; None for any.
        needs: parts that a model must have for it, such as "refiner".
        backbone: the model family that denoises.
        maths: version, to be raised when the same settings draw another picture; None for a kind that has
            only the version of all stages (`gspn_core.planning.keys.MATHS_VERSION`).
    """

    name: ClassVar[str]
    reads: ClassVar[frozenset[str]]
    begins_run: ClassVar[bool] = False
    denoises: ClassVar[bool] = True
    encodes: ClassVar[bool] = True
    tiled: ClassVar[bool] = False
    ratios: ClassVar[frozenset[int] | None] = None
    needs: ClassVar[frozenset[str]] = frozenset()
    backbone: ClassVar[str] = "sdxl"
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
