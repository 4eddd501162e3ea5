"""Between samples and latents: SDXL's VAE, in tiles where a picture is large."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from gspn_core.backbones.backbone import Tiles

OVERLAP = 0.25


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
        return (yield from self._tiled(one, sample, shape, self.tile_px, (1, self.factor)))

    def decode(self, latents: Tensor) -> Tiles:
        """Decode scaled latents (1, C, h, w) to a sample, float32 (1, 3, 8h, 8w)."""

        def one(tile: Tensor) -> Tensor:
            return self.vae.decode(self._ready(tile / self.scaling), return_dict=False)[0]

        shape = (1, 3, latents.shape[2] * self.factor, latents.shape[3] * self.factor)
        tile = None if self.tile_px is None else self.tile_px // self.factor
        return (yield from self._tiled(one, latents, shape, tile, (self.factor, 1)))

    def _ready(self, tile: Tensor) -> Tensor:
        """Return a tile as the VAE reads it: channels last as its weights are, so that no layer copies it."""
        return tile.to(self.vae.device, self.vae.dtype, memory_format=torch.channels_last)

    def _tiled(
        self,
        one: Callable[[Tensor], Tensor],
        source: Tensor,
        shape: tuple[int, ...],
        tile: int | None,
        ratio: tuple[int, int],
    ) -> Tiles:
        up, down = ratio
        H, W = source.shape[2:]
        if tile is None or max(H, W) <= tile:
            result = one(source).float()
            yield 1, 1
            return result
        grid = list(product(tile_starts(H, tile, down), tile_starts(W, tile, down)))
        result = torch.zeros(shape, dtype=torch.float32, device=self.vae.device)
        total = torch.zeros(1, 1, *shape[2:], dtype=torch.float32, device=self.vae.device)
        for number, (top, left) in enumerate(grid, start=1):
            part = one(source[:, :, top : top + tile, left : left + tile]).float()
            h, w = part.shape[2:]
            y, x = top * up // down, left * up // down
            rim = max(1, int(tile * up // down * OVERLAP))
            weight = _ramp(h, rim, part.device)[:, None] * _ramp(w, rim, part.device)[None, :]
            result[:, :, y : y + h, x : x + w] += part * weight
            total[:, :, y : y + h, x : x + w] += weight
            yield number, len(grid)
        return result.div_(total)


def tile_starts(length: int, tile: int, unit: int = 1) -> list[int]:
    """Return where tiles start along `length`: multiples of `unit` that overlap by a quarter or more."""
    if length <= tile:
        return [0]
    stride = max(unit, int(tile * (1 - OVERLAP)) // unit * unit)
    last = length - tile
    return [*range(0, last, stride), last]


def _ramp(length: int, rim: int, device: torch.device) -> Tensor:
    position = torch.arange(length, device=device, dtype=torch.float32)
    return torch.minimum(position + 1, length - position).clamp_max(rim) / rim
