"""The signature of a stage: equal keys on one machine mean equal bytes of the picture. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from gspn_core.planning.types import StagePlan
from gspn_core.settings import OVERRIDABLE

# To be raised by whoever changes what the same settings draw: the sampling loop, a mixer, the scan, a blur.
MATHS_VERSION = 3
# The same for what first stages do not have: the start at a noise level, the holds, the dilated branch.
LATER_MATHS_VERSION = 4
# Settings that a stage's own record says already or that say nothing of one stage, and those of later stages.
_IN_THE_STAGE = frozenset({"start_px", "target", "aspect", "ladder", "num_inference_steps", "overrides"})
LATER_STAGES_ONLY = frozenset(
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
FIRST_STAGE_ONLY = frozenset({"refiner", "refiner_start", "aesthetic_score", "negative_aesthetic_score"})
# What a stage's record says of how it is computed and what that takes; `choices` that change the picture's
# bytes are told apart in its key all the same.
_NOT_IN_THE_PICTURE = frozenset({"choices", "calls", "peak_bytes", "seconds", "fits"})
_IN_THE_LAST_BITS = ("serial_guidance", "small_blocks", "chunked_feed_forward", "float8_storage")


def unread(stage: StagePlan) -> frozenset[str]:
    """Return the settings that say nothing of a stage's picture beside those of the whole run."""
    if stage.is_kept:
        return frozenset(OVERRIDABLE)
    if stage.index == 0:
        return LATER_STAGES_ONLY if stage.settings.start else LATER_STAGES_ONLY | {"start", "start_strength"}
    return FIRST_STAGE_ONLY | {"start", "start_strength"}


def stage_key(before: str, stage: StagePlan) -> str:
    """Return the signature of a stage after the stages with the signature `before`."""
    left_out = _IN_THE_STAGE | unread(stage)
    record = {
        name: value for name, value in dataclasses.asdict(stage).items() if name not in _NOT_IN_THE_PICTURE
    }
    record |= {name: True for name in _IN_THE_LAST_BITS if getattr(stage.choices, name)}
    told = {name: value for name, value in record.pop("settings").items() if name not in left_out}
    if stage.is_kept:
        record = {"size": record["size"]}
    if not stage.is_base and not stage.is_kept:
        record["maths"] = LATER_MATHS_VERSION
    record = json.dumps([before, record, told], sort_keys=True)
    return hashlib.sha256(record.encode()).hexdigest()
