"""Enlarges pictures with a super-resolution network, large ones in tiles that are blended."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gspn_core.superres.network import SCALE, SuperResolution, noise_for

# A picture of more pixels than a square of this side is enlarged in tiles of it, in px of the small picture.
TILE_PX = 320
# Neighbouring tiles share this many px, over which one fades into the other.
OVERLAP_PX = 48


class Upscaler:
    """A network on its device."""

    def __init__(self, network: SuperResolution) -> None:
        self.network = network

    @property
    def device(self) -> torch.device:
        """Return where the network is."""
        return next(self.network.parameters()).device

    def enlarge(
        self, picture: Image.Image, height: int, width: int, generator: torch.Generator
    ) -> Iterator[tuple[int, int]]:
        """Enlarge a picture to height × width px; where that is not SCALE times as large, shrink by Lanczos.

        Args:
            picture: RGB.
            height: of the result; likewise width.
            generator: of the CPU, for the noise: equal on every device and in tiles of any size.

        Yields:
            The number of each finished tile, from 1, and how many there are.

        Returns:
            The picture, RGB.
        """
        levels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None]
        sample = levels.float() / 127.5 - 1
        # The mixers' map is half as large.
        sample = torch.nn.functional.pad(sample, (0, sample.shape[3] % 2, 0, sample.shape[2] % 2), "reflect")
        rows, columns = sample.shape[2:]
        noise = noise_for(rows, columns, generator)
        drawn = torch.zeros(1, 3, SCALE * rows, SCALE * columns)
        total = torch.zeros(1, 1, SCALE * rows, SCALE * columns)
        tiles = [
            (top, left) for top in _tiles(rows, columns, rows) for left in _tiles(rows, columns, columns)
        ]
        for number, (top, left) in enumerate(tiles, start=1):
            part = self._pass(sample, noise, top, left)
            weight = _fade(top, rows)[:, None] * _fade(left, columns)[None]
            place = ..., _times(top, SCALE), _times(left, SCALE)
            drawn[place] += weight * part
            total[place] += weight
            yield number, len(tiles)
        drawn = (drawn / total)[..., : SCALE * picture.height, : SCALE * picture.width]
        pixels = ((drawn[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
        image = Image.fromarray(pixels.numpy())
        return (
            image
            if image.size == (width, height)
            else image.resize((width, height), Image.Resampling.LANCZOS)
        )

    def _pass(self, sample: Tensor, noise: tuple[Tensor, Tensor], top: slice, left: slice) -> Tensor:
        """Return one tile enlarged, float32 (1, 3, SCALE·h, SCALE·w) on the CPU."""
        weight = next(self.network.parameters())
        half, finest = (
            fine[..., _times(top, scale), _times(left, scale)].to(weight)
            for fine, scale in zip(noise, (SCALE // 2, SCALE), strict=True)
        )
        small = sample[..., top, left].to(weight).contiguous(memory_format=torch.channels_last)
        return self.network(small, (half, finest)).float().cpu()


def _tiles(height: int, width: int, side: int) -> list[slice]:
    """Return the tiles along a side of a picture of height × width px, in even px; one where it is small."""
    if height * width <= TILE_PX**2 or side <= TILE_PX:
        return [slice(0, side)]
    step = TILE_PX - OVERLAP_PX
    count = -(-(side - OVERLAP_PX) // step)
    starts = [2 * round(number * (side - TILE_PX) / (count - 1) / 2) for number in range(count)]
    return [slice(start, start + TILE_PX) for start in starts]


def _fade(tile: slice, side: int) -> Tensor:
    """Return a tile's weights along a side, rising from its inner edges, (SCALE · length,)."""
    weights = torch.ones(SCALE * (tile.stop - tile.start))
    ramp = (torch.arange(SCALE * OVERLAP_PX) + 0.5) / (SCALE * OVERLAP_PX)
    if tile.start:
        weights[: len(ramp)] *= ramp
    if tile.stop < side:
        weights[-len(ramp) :] *= ramp.flip(0)
    return weights


def _times(tile: slice, scale: int) -> slice:
    return slice(scale * tile.start, scale * tile.stop)
