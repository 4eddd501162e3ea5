"""The shapes of extras that take memory too: a refiner, a small decoder for previews."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from gspn_core.models.hub import Snapshot
from gspn_core.models.quantize import REFINER_LINEAR, SDXL_LINEAR, Scheme, linear_layers
from gspn_core.models.shapes import count_parameters, unet_shapes
from gspn_core.models.x4 import X4_SHAPES, read_x4_shapes
from gspn_core.planning.shapes import Shapes, UNetShapes

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


def with_quantized(
    shapes: Shapes | None, scheme: Scheme, path: Path, refiner: Snapshot | Path | None
) -> Shapes | None:
    """Return a model's shapes with the linear layers of its UNet and its refiner quantized."""
    if shapes is None:
        return None
    unet = path if path.is_file() else path / "unet"
    linear = scheme.quantized(linear_layers(unet) if path.exists() else SDXL_LINEAR)
    shapes = dataclasses.replace(shapes, unet=dataclasses.replace(shapes.unet, quantized=linear))
    if shapes.refiner is None:
        return shapes
    linear = scheme.quantized(
        linear_layers(refiner / "unet") if isinstance(refiner, Path) else REFINER_LINEAR
    )
    return dataclasses.replace(shapes, refiner=dataclasses.replace(shapes.refiner, quantized=linear))


def with_x4(shapes: Shapes | None, x4: Snapshot | Path | None) -> Shapes | None:
    """Return a model's shapes with those of the x4 upscaler next to it; None if either's are unknown."""
    if shapes is None or x4 is None:
        return shapes
    added = X4_SHAPES if isinstance(x4, Snapshot) else read_x4_shapes(x4)
    if added is None:
        return None
    own = (shapes.unet, shapes.refiner, shapes.vae)
    others = sum(part.parameters for part in own if part is not None) + shapes.text_parameters
    others += shapes.preview_parameters + sum(count for _, count in shapes.adapter_parameters)
    count = added.unet.parameters + added.vae.parameters + added.text_parameters
    return dataclasses.replace(
        shapes, x4=dataclasses.replace(added, other_parameters=others), other_parameters=count
    )


def _refiner(source: Snapshot | Path | None) -> UNetShapes | None:
    if not isinstance(source, Path):
        return None if source is None else REFINER_SHAPES
    config = json.loads((source / "unet" / "config.json").read_text(encoding="utf-8"))
    return unet_shapes(config, parameters=count_parameters(source / "unet"))


def _parameters(source: Snapshot | Path | None) -> int:
    if isinstance(source, Path):
        return count_parameters(source)
    return 0 if source is None else TINY_PARAMETERS
