"""The signature of a stage: equal keys on one machine mean equal bytes of the picture. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from gspn_core.kinds.kind import CONTROL, FREEU, VARIATION
from gspn_core.planning.types import ModelCard, StagePlan
from gspn_core.prompts import is_weighted

# To be raised when the same settings draw another picture: a change of the sampling loop, a mixer, the scan.
# What only some kinds have (an entry at a noise level, the holds) has its own version: `StageKind.maths`.
MATHS_VERSION = 3
# Fields that say how a stage is computed, what it costs, or that follow from its other fields; `choices`
# that change the image's bytes are in the key nevertheless.
_NOT_IN_THE_IMAGE = frozenset(
    {
        "kind",
        "px",
        "ratio",
        "backbone",
        "choices",
        "calls",
        "peak_bytes",
        "seconds",
        "fits",
        "embeds_guidance",
        "margins",
        "weights",
        "inpaints",
        "together",
        "batch_bytes",
        "text_chunks",
        "loras",
        "tiling",
        "condition",
    }
)
_IN_THE_LAST_BITS = ("serial_guidance", "small_blocks", "chunked_feed_forward", "float8_storage")


# Of what weights and prompts of several chunks draw; others are encoded as ever.
_CHUNKED_TEXT_VERSION = 2
# Of how LoRA files are fused, and of how a control's picture is read.
_LORA_VERSION, _CONTROL_VERSION = 1, 1
# A text encoder reads at least so many tokens at once, and each has a byte or more besides spaces.
_SHORT_BYTES = 75


def _may_be_chunked(text: str) -> bool:
    return len("".join(text.split()).encode("utf-8", "replace")) > _SHORT_BYTES or is_weighted(text)


def first_key(card: ModelCard) -> str:
    """Return what the first stage's key starts from: the model and the versions of the code."""
    return first_key_of(card.name, card.fingerprint)


def first_key_of(model: str, fingerprint: str) -> str:
    """Return the same for a model's name and fingerprint."""
    return f"{MATHS_VERSION} {model} {fingerprint}"


def stage_key(before: str, stage: StagePlan) -> str:
    """Return the signature of a stage that follows the stages with the signature `before`."""
    record = {
        name: value for name, value in dataclasses.asdict(stage).items() if name not in _NOT_IN_THE_IMAGE
    }
    record |= {name: True for name in _IN_THE_LAST_BITS if getattr(stage.choices, name)}
    if stage.together:
        record["together"] = True
    settings = {name: value for name, value in record.pop("settings").items() if name in stage.kind.reads}
    if not settings.get("variation_strength"):
        settings = {name: value for name, value in settings.items() if name not in VARIATION}
    if not stage.kind.denoises:
        record = {"size": record["size"]}
    if stage.weights:
        record["weights"] = stage.weights
    # The files' own bytes count, not their names.
    settings.pop("loras", None)
    if stage.loras:
        record["loras"] = [_LORA_VERSION, sorted([lora.sha256, lora.weight] for lora in stage.loras)]
    # Without a part in the picture they are none of its settings.
    settings = {name: value for name, value in settings.items() if name not in CONTROL}
    if stage.condition is not None:
        record["control"] = [_CONTROL_VERSION, *stage.condition.record]
    if all(settings.get(name, 1.0) == 1.0 for name in FREEU):
        settings = {name: value for name, value in settings.items() if name not in FREEU}
    if stage.kind.maths is not None:
        record["maths"] = stage.kind.maths
    if any(_may_be_chunked(str(settings.get(name, ""))) for name in ("prompt", "negative_prompt")):
        record["text"] = _CHUNKED_TEXT_VERSION
    record = json.dumps([before, record, settings], sort_keys=True)
    return hashlib.sha256(record.encode()).hexdigest()
