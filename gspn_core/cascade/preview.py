"""Small pictures of latents while a stage runs: by a fitted linear map, or by a small decoder."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from PIL import Image
from torch.nn import functional

from gspn_core.backbones.samples import to_image

PREVIEW_PX = 256
DECODED_PREVIEW_PX = 512


class Preview:
    """A linear map from latents to RGB, fitted to the VAE once, so that a preview costs a matrix product."""

    def __init__(self, vae: AutoencoderKL) -> None:
        self.weight = fit_preview(vae)

    def image(self, latents: torch.Tensor) -> Image.Image:
        """Return a picture of at most 256 px a side from latents (1, 4, h, w)."""
        longest = max(latents.shape[2:])
        if longest > PREVIEW_PX:
            latents = functional.interpolate(latents, scale_factor=PREVIEW_PX / longest, mode="area")
        flat = latents[0].flatten(1).float()
        weight = self.weight.to(flat.device)
        rgb = weight[:, :-1] @ flat + weight[:, -1:]
        return to_image(rgb.view(1, 3, *latents.shape[2:]))


class DecodedPreview:
    """A preview by a small decoder of the same latents, such as TAESD's: it shows detail and costs more."""

    def __init__(self, decoder: AutoencoderTiny) -> None:
        self.decoder = decoder
        self.factor = 2 ** (len(decoder.config.decoder_block_out_channels) - 1)

    def image(self, latents: torch.Tensor) -> Image.Image:
        """Return a picture of at most 512 px a side from latents (1, 4, h, w)."""
        most = DECODED_PREVIEW_PX // self.factor
        longest = max(latents.shape[2:])
        if longest > most:
            latents = functional.interpolate(latents, scale_factor=most / longest, mode="area")
        sample = self.decoder.decode(latents.to(self.decoder.dtype), return_dict=False)[0]
        return to_image(sample)


@torch.inference_mode()
def fit_preview(vae: AutoencoderKL) -> torch.Tensor:
    """Return (3, latent_channels + 1): least squares from latents to the mean colour of each latent's pixels.

    The sample fitted to is a fixed picture of soft colour patches, encoded by the VAE itself.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    patches = torch.rand(4, 3, 12, 12, generator=generator, dtype=torch.float32) * 2 - 1
    sample = functional.interpolate(patches, size=(192, 192), mode="bilinear").to(vae.device, vae.dtype)
    latents = vae.encode(sample).latent_dist.mode().float() * vae.config.scaling_factor
    colours = functional.adaptive_avg_pool2d(sample.float(), latents.shape[2:])
    inputs = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
    wanted = colours.permute(0, 2, 3, 1).reshape(-1, 3)
    return torch.linalg.lstsq(inputs.cpu().double(), wanted.cpu().double()).solution.T.float().to(vae.device)
