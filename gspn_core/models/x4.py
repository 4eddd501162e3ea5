"""A folder of Stable Diffusion's x4 upscaler: what it must be, and its shapes. Loads no weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gspn_core.errors import ModelUnavailable
from gspn_core.models.files import read_json
from gspn_core.models.hub import Snapshot
from gspn_core.models.shapes import count_parameters, unet_shapes, vae_shapes
from gspn_core.planning.shapes import Shapes, UNetShapes, VAEShapes
from gspn_core.tiling import x4_tile_side

PIPELINE = "StableDiffusionUpscalePipeline"
# Channels of a picture, which the UNet reads besides its latents.
_RGB = 3
# How many times as large as its latents a picture is.
_FACTOR = 4
# As Stability AI published it, with the text encoder of OpenCLIP's ViT-H without its last layer.
X4_SHAPES = Shapes(
    unet=UNetShapes(
        channels=(256, 512, 512, 1024),
        resnets=(2, 2, 2, 2),
        down=(0, 1, 1, 1),
        middle=1,
        up=(1, 1, 1, 0),
        text_tokens=77,
        text_channels=1024,
        sample_side=128,
        parameters=473_398_020,
        extra_channels=_RGB,
        only_cross=(True, True, True, False),
        tile_side=x4_tile_side(128),
    ),
    vae=VAEShapes(channels=(128, 256, 512), resnets=2, middle_attention=True, parameters=55_325_927),
    text_parameters=340_387_840,
)


def check_x4(source: Snapshot | Path) -> None:
    """Raise ModelUnavailable for a folder that is not an x4 upscaler's; what is to be fetched is known."""
    if isinstance(source, Snapshot):
        return
    name = str(source)
    index = read_json(source / "model_index.json", name)
    if index.get("_class_name") != PIPELINE:
        kind = index.get("_class_name", "no pipeline")
        raise ModelUnavailable(
            f"{name} holds {kind}, not a {PIPELINE}; give the folder of an x4 upscaler, or x4-upscaler."
        )
    unet, vae, text = (
        read_json(source / part / "config.json", name) for part in ("unet", "vae", "text_encoder")
    )
    for part in ("scheduler", "low_res_scheduler"):
        read_json(source / part / "scheduler_config.json", name)
    wrong = _difference(unet, vae, text)
    if wrong:
        raise ModelUnavailable(f"{name} {wrong}; give the folder of an x4 upscaler, or x4-upscaler.")


def _difference(unet: dict[str, Any], vae: dict[str, Any], text: dict[str, Any]) -> str:
    """Return what an x4 upscaler's configurations have that a stage cannot use, "" for nothing."""
    latents = vae.get("latent_channels", 4)
    channels = unet.get("in_channels", 4), unet.get("out_channels", 4)
    if channels != (latents + _RGB, latents):
        return f"has a UNet of {channels[0]} input and {channels[1]} output channels"
    if not unet.get("num_class_embeds"):
        return "has a UNet without a noise level (num_class_embeds)"
    blocks = vae.get("block_out_channels", ())
    if not isinstance(blocks, list) or 2 ** (len(blocks) - 1) != _FACTOR:
        return f"has an autoencoder of another factor than {_FACTOR}"
    if unet.get("cross_attention_dim") != text.get("hidden_size"):
        return "has a text encoder of another width than its UNet reads"
    return ""


def read_x4_shapes(folder: Path) -> Shapes | None:
    """Return the shapes of the x4 upscaler in a folder, None if a configuration or a header is damaged."""
    try:
        name = str(folder)
        unet = unet_shapes(
            read_json(folder / "unet" / "config.json", name), parameters=count_parameters(folder / "unet")
        )
        vae = vae_shapes(
            read_json(folder / "vae" / "config.json", name), parameters=count_parameters(folder / "vae")
        )
        return Shapes(
            unet=dataclasses.replace(unet, tile_side=x4_tile_side(unet.sample_side)),
            vae=vae,
            text_parameters=count_parameters(folder / "text_encoder"),
        )
    except (ModelUnavailable, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
