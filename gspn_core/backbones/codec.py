"""Between samples and latents: SDXL's VAE, in tiles where a picture is large."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from gspn_core.backbones.backbone import Tiles
from gspn_core.superres.tiles import tiled


class Autoencoder:
    """A VAE as a `backbone.Codec`, in tiles where the picture is larger than tile_px.

    A tile overlaps its neighbour by a quarter, and the overlap is blended linearly into one output.
    """

    def __init__(self, vae: AutoencoderKL, tile_px: int | None) -> None:
        self.vae = vae
        self.tile_px = tile_px
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = vae.config.latent_channels
        self.scaling: float = vae.config.scaling_factor

    def encode(self, sample: Tensor) -> Tiles:
        """Encode a sample (1, 3, H, W) to scaled latents, float32 (1, C, H/8, W/8): their mean."""

        def one(tile: Tensor) -> Tensor:
            latents = self.vae.encode(self._ready(tile)).latent_dist.mode()
            return latents.float() * self.scaling

        H, W = sample.shape[2:]
        shape = (1, self.channels, H // self.factor, W // self.factor)
        return (yield from tiled(one, sample, shape, self.tile_px, (1, self.factor), self.vae.device))

    def decode(self, latents: Tensor) -> Tiles:
        """Decode scaled latents (1, C, h, w) to a sample, float32 (1, 3, 8h, 8w)."""

        def one(tile: Tensor) -> Tensor:
            return self.vae.decode(self._ready(tile / self.scaling), return_dict=False)[0]

        shape = (1, 3, latents.shape[2] * self.factor, latents.shape[3] * self.factor)
        tile = None if self.tile_px is None else self.tile_px // self.factor
        return (yield from tiled(one, latents, shape, tile, (self.factor, 1), self.vae.device))

    def _ready(self, tile: Tensor) -> Tensor:
        """Return a tile as the VAE reads it: channels last as its weights are, so that no layer copies it."""
        return tile.to(self.vae.device, self.vae.dtype, memory_format=torch.channels_last)
