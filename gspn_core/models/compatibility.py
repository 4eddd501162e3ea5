"""Compatibility of a model's parts, checked by their configurations before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gspn_core.errors import ModelUnavailable


def check_parts(folder: Path, configs: Mapping[str, Any]) -> None:
    """Check that the VAE and the text encoders belong to the same model as the UNet.

    Args:
        folder: The model's, for the message.
        configs: The parts' configurations by their names in a pipeline.

    Raises:
        ModelUnavailable: They do not.
    """
    unet, first, second = (configs[name] for name in ("unet", "text_encoder", "text_encoder_2"))
    check_latents(f"the VAE of {folder}", configs["vae"], unet)
    reads_mask(f"the UNet in {folder}", unet.in_channels, unet.out_channels)
    needed, given = unet.cross_attention_dim, first.hidden_size + second.hidden_size
    if needed != given:
        raise ModelUnavailable(
            f"the UNet in {folder} needs {needed} channels of text and its text encoders give {given}; "
            "copy the whole model again."
        )
    given = second.projection_dim + 6 * (unet.addition_time_embed_dim or 0)
    needed = unet.projection_class_embeddings_input_dim
    if needed != given:
        raise ModelUnavailable(
            f"the UNet in {folder} needs {needed} channels of pooled text and sizes and gets {given}; "
            "copy the whole model again."
        )


def reads_mask(what: str, in_channels: int, latent_channels: int) -> bool:
    """Return whether a UNet reads a mask and the latents of the picture around it besides its latents.

    Args:
        what: The UNet, for the message.
        in_channels: Of its input.
        latent_channels: Of the latents.

    Raises:
        ModelUnavailable: It reads something else.
    """
    plain, inpainting = latent_channels, 2 * latent_channels + 1
    if in_channels not in (plain, inpainting):
        raise ModelUnavailable(
            f"{what} has {in_channels} input channels, and SDXL has {plain} or, for inpainting, "
            f"{inpainting}; give one of these."
        )
    return in_channels == inpainting


def check_latents(what: str, decoder: Any, unet: Any) -> None:
    """Check that an autoencoder's latents have the UNet's channels.

    Args:
        what: The autoencoder, for the message.
        decoder: Its configuration.
        unet: The UNet's configuration.

    Raises:
        ModelUnavailable: They have not.
    """
    if decoder.latent_channels != unet.out_channels:
        raise ModelUnavailable(
            f"{what} has latents of {decoder.latent_channels} channels and the UNet needs "
            f"{unet.out_channels}; give an autoencoder for SDXL."
        )


def check_refiner(folder: Path, refiner: Any, second: Any) -> None:
    """Check that a refiner's UNet fits the second text encoder.

    Args:
        folder: The refiner's, for the message.
        refiner: Its UNet's configuration.
        second: The second text encoder's configuration.

    Raises:
        ModelUnavailable: It does not.
    """
    pooled = second.projection_dim + 5 * (refiner.addition_time_embed_dim or 0)
    for what, needed, given in (
        ("input channels", refiner.in_channels, refiner.out_channels),
        ("channels of text", refiner.cross_attention_dim, second.hidden_size),
        ("channels of pooled text and sizes", refiner.projection_class_embeddings_input_dim, pooled),
    ):
        if needed != given:
            raise ModelUnavailable(
                f"{folder} is not a refiner for this model: it needs {needed} {what} and gets {given}; "
                "use SDXL's refiner with SDXL."
            )
