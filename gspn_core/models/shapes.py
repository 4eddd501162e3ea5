"""A model's shapes from its folder: configs and headers of safetensors. Loads no weights and no torch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gspn_core.planning.shapes import Shapes, UNetShapes, VAEShapes
from gspn_core.settings import Mixer

# SDXL 1.0 (arXiv 2307.01952) as Stability AI published it, with its two text encoders.
SDXL_SHAPES = Shapes(
    unet=UNetShapes(
        channels=(320, 640, 1280),
        resnets=(2, 2, 2),
        down=(0, 2, 10),
        middle=10,
        up=(10, 2, 0),
        text_tokens=77,
        text_channels=2048,
        sample_side=128,
        parameters=2_567_463_684,
    ),
    vae=VAEShapes(channels=(128, 256, 512, 512), resnets=2, middle_attention=True, parameters=83_653_863),
    text_parameters=123_060_480 + 694_659_840,
)
_LONGEST_HEADER = 64 * 2**20


def read_shapes(folder: Path, adapters: Mapping[Mixer, str]) -> Shapes | None:
    """Return the shapes of the SDXL in a folder.

    Args:
        folder: In diffusers' layout.
        adapters: The folders of trained mixers in it, by mixer.

    Returns:
        None if a config or a header cannot be read.
    """
    try:
        unet, vae = (_config(folder / part) for part in ("unet", "vae"))
        return Shapes(
            unet=unet_shapes(unet, parameters=count_parameters(folder / "unet")),
            vae=vae_shapes(vae, parameters=count_parameters(folder / "vae")),
            text_parameters=sum(
                count_parameters(folder / part) for part in ("text_encoder", "text_encoder_2")
            ),
            adapter_parameters=tuple(
                (mixer, count_parameters(folder / name)) for mixer, name in adapters.items()
            ),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def unet_shapes(config: Mapping[str, Any], *, parameters: int) -> UNetShapes:
    """Return the shapes of a UNet2DConditionModel's config; raise KeyError or TypeError if one is missing."""
    channels = tuple(config["block_out_channels"])
    layers = _per_block(config.get("transformer_layers_per_block", 1), len(channels))
    down = tuple(
        count if kind.startswith("CrossAttn") else 0
        for count, kind in zip(layers, config["down_block_types"], strict=True)
    )
    up = tuple(
        count if kind.startswith("CrossAttn") else 0
        for count, kind in zip(reversed(layers), config["up_block_types"], strict=True)
    )
    sample = config["sample_size"]
    return UNetShapes(
        channels=channels,
        resnets=_per_block(config["layers_per_block"], len(channels)),
        down=down,
        middle=layers[-1],
        up=up,
        text_tokens=77,
        text_channels=int(config["cross_attention_dim"]),
        sample_side=int(sample if isinstance(sample, int) else max(sample)),
        parameters=parameters,
        latent_channels=int(config.get("out_channels", 4)),
        extra_channels=int(config.get("in_channels", 4)) - int(config.get("out_channels", 4)),
        only_cross=_only_cross(config.get("only_cross_attention", False), len(channels)),
    )


def inpainting_shapes(shapes: Shapes) -> Shapes:
    """Return a model's shapes with the input channels of an inpainting UNet."""
    unet, extra = shapes.unet, shapes.unet.latent_channels + 1
    parameters = unet.parameters + 9 * extra * unet.channels[0]
    return dataclasses.replace(
        shapes, unet=dataclasses.replace(unet, extra_channels=extra, parameters=parameters)
    )


def vae_shapes(config: Mapping[str, Any], *, parameters: int) -> VAEShapes:
    """Return the shapes of an AutoencoderKL's config; raise KeyError or TypeError if one is missing."""
    return VAEShapes(
        channels=tuple(config["block_out_channels"]),
        resnets=int(config["layers_per_block"]),
        middle_attention=bool(config.get("mid_block_add_attention", True)),
        parameters=parameters,
        latent_channels=int(config["latent_channels"]),
    )


def count_parameters(folder: Path) -> int:
    """Return how many numbers the safetensors files of a folder hold; a part written twice counts once.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is not in the format.
    """
    files = sorted(folder.glob("*.safetensors"))
    whole = [path for path in files if ".fp16" not in path.name] or files
    return sum(_count(path) for path in whole)


def _count(path: Path) -> int:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"{path} is not a valid safetensors file")
        header = json.loads(file.read(length))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def _only_cross(value: bool | Sequence[bool], blocks: int) -> tuple[bool, ...]:
    each = (value,) * blocks if isinstance(value, bool) else tuple(map(bool, value))
    return each if any(each) else ()


def _per_block(value: int | Sequence[int], blocks: int) -> tuple[int, ...]:
    return (value,) * blocks if isinstance(value, int) else tuple(value)
