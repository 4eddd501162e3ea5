"""Encodes whole pictures into a model's latents and decodes them."""

import torch
from PIL import Image

from gspn_core.backbones.codec import Autoencoder
from gspn_core.backbones.model import Model
from gspn_core.backbones.samples import to_image, to_sample
from gspn_core.evaluation.gallery import result_of
from gspn_core.planning.types import Size


@torch.inference_mode()
def encode(model: Model, picture: Image.Image) -> torch.Tensor:
    """Return a picture's scaled latents, float32 (1, 4, H/8, W/8): the mean, no noise."""
    sample = to_sample(picture, Size(picture.height, picture.width))
    return result_of(_autoencoder(model).encode(sample))


@torch.inference_mode()
def decode(model: Model, latents: torch.Tensor) -> Image.Image:
    """Return the picture of scaled latents (1, 4, h, w)."""
    return to_image(result_of(_autoencoder(model).decode(latents)))


def reconstruct(model: Model, picture: Image.Image) -> Image.Image:
    """Return a picture encoded and decoded by the model's autoencoder."""
    return decode(model, encode(model, picture))


def _autoencoder(model: Model) -> Autoencoder:
    return Autoencoder(model.pipeline.vae, model.card.vae_tile_px)
