"""The shapes of extras that take memory too: a refiner, a small decoder for previews."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from gspn_core.models.hub import Snapshot
from gspn_core.models.shapes import count_parameters, unet_shapes
from gspn_core.planning.types import Shapes, UNetShapes

# SDXL's refiner as Stability AI published it.
REFINER_SHAPES = UNetShapes(
    channels=(384, 768, 1536, 1536),
    resnets=(2, 2, 2, 2),
    down=(0, 4, 4, 0),
    middle=4,
    up=(0, 4, 4, 0),
    text_tokens=77,
    text_channels=1280,
    sample_side=128,
    parameters=2_259_526_660,
)
# An AutoencoderTiny with 64 channels, such as TAESDXL.
TINY_PARAMETERS = 2_445_063


def with_extras(
    shapes: Shapes | None, *, refiner: Snapshot | Path | None, preview: Snapshot | Path | None
) -> Shapes | None:
    """Return a model's shapes with those of its extras.

    Args:
        shapes: The model's own, None if unknown.
        refiner: Its folder, or what is to be fetched.
        preview: Its folder, or what is to be fetched.

    Returns:
        None if the model's own are unknown, or a folder cannot be read.
    """
    if shapes is None:
        return None
    try:
        return dataclasses.replace(
            shapes,
            refiner=_refiner(refiner),
            preview_parameters=_parameters(preview),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _refiner(source: Snapshot | Path | None) -> UNetShapes | None:
    if not isinstance(source, Path):
        return None if source is None else REFINER_SHAPES
    config = json.loads((source / "unet" / "config.json").read_text(encoding="utf-8"))
    return unet_shapes(config, parameters=count_parameters(source / "unet"))


def _parameters(source: Snapshot | Path | None) -> int:
    if isinstance(source, Path):
        return count_parameters(source)
    return 0 if source is None else TINY_PARAMETERS
