"""Adaptive resolution: the enlarged image of the stage before, redrawn in the tiles that have most detail.

Which tiles those are is known before the stage runs: it follows from the image of the stage before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from PIL import ImageChops, ImageStat
from PIL.Image import Image, Resampling

from gspn_core.kinds.kind import DENOISING, HOLDING, TILING, StageKind, steps_from_level
from gspn_core.settings import Settings

# Neighbouring tiles share at least this part of the base's side.
OVERLAP = 1 / 8


class Crop(NamedTuple):
    """A rectangle of a stage, in px."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """The tiles of a stage, all of one size: as few as cover it, a little larger than the base.

    Args:
        height: of a tile in px; likewise width.
        tops: where rows of tiles begin, in px; lefts: where columns do.
        drawn: how many of the tiles are redrawn.
    """

    height: int
    width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    drawn: int

    @property
    def crops(self) -> tuple[Crop, ...]:
        """Return all tiles, row by row."""
        return tuple(Crop(top, left, self.height, self.width) for top in self.tops for left in self.lefts)

    @property
    def overlap(self) -> int:
        """Return how many px two neighbours share at least; a single tile: a quarter of its side."""
        shared = [
            before + side - after
            for starts, side in ((self.tops, self.height), (self.lefts, self.width))
            for before, after in zip(starts, starts[1:], strict=False)
        ]
        return min(shared, default=min(self.height, self.width) // 4)


class Tiles(StageKind):
    """Denoise a share of the tiles as crops of the image, blended as in MultiDiffusion (2302.08113).

    The rest of the image is the enlarged one.
    """

    name = "tiles"
    reads = DENOISING | HOLDING | TILING
    tiled = True
    maths = "tiles 1"

    def steps(self, own: Settings) -> tuple[int, int]:
        if not own.tile_share:
            return 0, 0
        return steps_from_level(own.num_inference_steps, own.upscale_strength), 0


def make_tiling(height: int, width: int, base_px: int, unit: int, share: float) -> Tiling:
    """Return the tiles of a stage of height × width px.

    Args:
        height: of the stage; likewise width.
        base_px: the side that the model was trained at.
        unit: a tile's sides are multiples of it where the stage's are.
        share: of the tiles that are redrawn, rounded up.
    """
    tall, tops = _along(height, base_px, unit)
    wide, lefts = _along(width, base_px, unit)
    drawn = math.ceil(round(share * len(tops) * len(lefts), 6))
    return Tiling(height=tall, width=wide, tops=tops, lefts=lefts, drawn=drawn)


def drawn_crops(image: Image, tiling: Tiling, before: tuple[int, int]) -> tuple[Crop, ...]:
    """Return the tiles of a stage that are redrawn, row by row: those of the highest `detail`.

    Args:
        image: that the stage starts from.
        tiling: of the stage.
        before: height and width of the stage before, at which the image is looked at.
    """
    crops, scores = tiling.crops, detail(image, tiling, before)
    first = sorted(range(len(crops)), key=lambda i: (-scores[i], i))[: tiling.drawn]
    return tuple(crops[i] for i in sorted(first))


def detail(image: Image, tiling: Tiling, before: tuple[int, int]) -> tuple[float, ...]:
    """Return the mean of |luma - its mean over 2 × 2 px| in each tile: the smaller image's finest octave.

    Args: see `drawn_crops`.
    """
    height, width = before
    if image.size != (width, height):
        image = image.resize((width, height), Resampling.LANCZOS)
    luma = image.convert("RGB").convert("L").crop((0, 0, width // 2 * 2, height // 2 * 2))
    finest = ImageChops.difference(luma, luma.reduce(2).resize(luma.size, Resampling.NEAREST))
    high, wide = tiling.tops[-1] + tiling.height, tiling.lefts[-1] + tiling.width
    boxes = (
        (
            round(left * luma.width / wide),
            round(top * luma.height / high),
            round((left + across) * luma.width / wide),
            round((top + down) * luma.height / high),
        )
        for top, left, down, across in tiling.crops
    )
    return tuple(ImageStat.Stat(finest.crop(box)).mean[0] for box in boxes)


def _along(length: int, base_px: int, unit: int) -> tuple[int, tuple[int, ...]]:
    """Return the side of the tiles along a stage's side of `length` px, and where they start."""
    count = math.ceil(length / base_px)
    if count == 1:
        return length, (0,)
    shared = round(base_px * OVERLAP)
    side = math.ceil((length + (count - 1) * shared) / count / unit) * unit
    # A start is a whole latent.
    step = math.gcd(8, length, side)
    return side, tuple(i * (length - side) // (count - 1) // step * step for i in range(count))
