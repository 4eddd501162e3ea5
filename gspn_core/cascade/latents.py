"""Between pictures and latents: encode, decode, tiles, upsampling in RGB and the cheap preview."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from PIL import Image
from torch.nn import functional

from gspn_core.planning.types import Size

OVERLAP = 0.25
PREVIEW_PX = 256
DECODED_PREVIEW_PX = 512
Progress = Iterator[tuple[int, int]]


def to_sample(image: Image.Image, size: Size) -> torch.Tensor:
    """Return the picture resized in RGB (Lanczos) to `size` as a sample in [-1, 1], float32 (1, 3, H, W)."""
    if image.size != (size.width, size.height):
        image = image.resize((size.width, size.height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(image.convert("RGB")))
    return pixels.permute(2, 0, 1)[None].float().div_(127.5).sub_(1)


def to_image(sample: torch.Tensor) -> Image.Image:
    """Return a sample (1, 3, H, W) in [-1, 1] as a picture; values outside are clipped."""
    pixels = sample[0].float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


class Autoencoder:
    """Encode and decode with a VAE, in tiles where the picture is larger than `tile_px`.

    encode and decode are generators: they yield (tile, tiles) after each tile and return the result. A tile's
    rim overlaps its neighbour's by a quarter and is blended linearly into one output.
    """

    def __init__(self, vae: AutoencoderKL, tile_px: int | None) -> None:
        self.vae = vae
        self.tile_px = tile_px
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)

    def encode(self, sample: torch.Tensor) -> Iterator[tuple[int, int]]:
        """Encode a sample (1, 3, H, W) to scaled latents, float32 (1, 4, H/8, W/8): the mean, no noise."""

        def one(tile: torch.Tensor) -> torch.Tensor:
            latents = self.vae.encode(self._ready(tile)).latent_dist.mode()
            return latents.float() * self.vae.config.scaling_factor

        shape = (
            1,
            self.vae.config.latent_channels,
            sample.shape[2] // self.factor,
            sample.shape[3] // self.factor,
        )
        return (yield from self._tiled(one, sample, shape, self.tile_px, (1, self.factor)))

    def decode(self, latents: torch.Tensor) -> Iterator[tuple[int, int]]:
        """Decode scaled latents (1, 4, h, w) to a sample, float32 (1, 3, 8h, 8w)."""

        def one(tile: torch.Tensor) -> torch.Tensor:
            return self.vae.decode(self._ready(tile / self.vae.config.scaling_factor), return_dict=False)[0]

        shape = (1, 3, latents.shape[2] * self.factor, latents.shape[3] * self.factor)
        tile = None if self.tile_px is None else self.tile_px // self.factor
        return (yield from self._tiled(one, latents, shape, tile, (self.factor, 1)))

    def _ready(self, tile: torch.Tensor) -> torch.Tensor:
        """Return a tile as the VAE wants it, channels last as its weights are, so that no layer turns it."""
        return tile.to(self.vae.device, self.vae.dtype, memory_format=torch.channels_last)

    def _tiled(
        self,
        one: Callable[[torch.Tensor], torch.Tensor],
        source: torch.Tensor,
        shape: tuple[int, ...],
        tile: int | None,
        ratio: tuple[int, int],
    ) -> Iterator[tuple[int, int]]:
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


def _ramp(length: int, rim: int, device: torch.device) -> torch.Tensor:
    position = torch.arange(length, device=device, dtype=torch.float32)
    return torch.minimum(position + 1, length - position).clamp_max(rim) / rim


class Preview:
    """A linear map from latents to RGB, fitted to the VAE once: the cost of a preview is a matrix product."""

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
