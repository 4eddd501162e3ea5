"""The signature of a stage: equal keys on one machine mean equal bytes of the picture. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from gspn_core.planning.types import ModelCard, StagePlan

# To be raised when the same settings draw another picture: a change of the sampling loop, a mixer, the scan.
# What only some kinds have (an entry at a noise level, the holds) has its own version: `StageKind.maths`.
MATHS_VERSION = 3
# Fields that say how a stage is computed, what it costs, or that follow from its other fields; `choices`
# that change the image's bytes are in the key nevertheless.
_NOT_IN_THE_IMAGE = frozenset(
    {"kind", "px", "ratio", "backbone", "choices", "calls", "peak_bytes", "seconds", "fits"}
)
_IN_THE_LAST_BITS = ("serial_guidance", "small_blocks", "chunked_feed_forward", "float8_storage")


def first_key(card: ModelCard) -> str:
    """Return what the first stage's key starts from: the model and the versions of the code."""
    return f"{MATHS_VERSION} {card.name} {card.fingerprint}"


def stage_key(before: str, stage: StagePlan) -> str:
    """Return the signature of a stage that follows the stages with the signature `before`."""
    record = {
        name: value for name, value in dataclasses.asdict(stage).items() if name not in _NOT_IN_THE_IMAGE
    }
    record |= {name: True for name in _IN_THE_LAST_BITS if getattr(stage.choices, name)}
    settings = {name: value for name, value in record.pop("settings").items() if name in stage.kind.reads}
    if not stage.kind.denoises:
        record = {"size": record["size"]}
    if stage.kind.maths is not None:
        record["maths"] = stage.kind.maths
    record = json.dumps([before, record, settings], sort_keys=True)
    return hashlib.sha256(record.encode()).hexdigest()
