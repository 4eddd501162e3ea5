"""Whether a model's parts go together, told by their configurations before anything is drawn with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gspn_core.errors import ModelUnavailable


def check_parts(folder: Path, configs: Mapping[str, Any]) -> None:
    """Raise ModelUnavailable where the VAE or the text encoders belong to another model than the UNet.

    configs: of the parts by their names in a pipeline.
    """
    unet, first, second = (configs[name] for name in ("unet", "text_encoder", "text_encoder_2"))
    check_latents(f"the VAE beside {folder}", configs["vae"], unet)
    reads, written = unet.cross_attention_dim, first.hidden_size + second.hidden_size
    if reads != written:
        raise ModelUnavailable(
            f"the UNet in {folder} reads {reads} channels of text and its text encoders write {written}; "
            "copy the whole model again."
        )
    wanted = second.projection_dim + 6 * (unet.addition_time_embed_dim or 0)
    pooled = unet.projection_class_embeddings_input_dim
    if pooled != wanted:
        raise ModelUnavailable(
            f"the UNet in {folder} reads {pooled} channels of pooled text and sizes and gets {wanted}; "
            "copy the whole model again."
        )


def check_latents(what: str, decoder: Any, unet: Any) -> None:
    """Raise ModelUnavailable where an autoencoder's latents are not those that the UNet draws."""
    if decoder.latent_channels != unet.in_channels:
        raise ModelUnavailable(
            f"{what} has latents of {decoder.latent_channels} channels and the UNet reads "
            f"{unet.in_channels}; give one of SDXL's."
        )


def check_refiner(folder: Path, refiner: Any, second: Any) -> None:
    """Raise ModelUnavailable where a refiner's UNet does not read what the second text encoder writes."""
    wanted = second.projection_dim + 5 * (refiner.addition_time_embed_dim or 0)
    reads = refiner.cross_attention_dim
    if reads != second.hidden_size or refiner.projection_class_embeddings_input_dim != wanted:
        raise ModelUnavailable(
            f"{folder} holds no refiner of this model: it reads {reads} channels of text and the second text "
            f"encoder writes {second.hidden_size}; give SDXL's refiner with SDXL."
        )
