"""A picture as a pyramid of JPEG tiles, so that a browser loads only the part that it shows.

    FOLDER/LEVEL/COLUMN_ROW.jpg

Level 0 is the whole picture in one tile; each further level has twice the sides, the last one those of the
picture. Tiles at the right and lower edges have the remaining width and height. Each tile includes one pixel
of its neighbours, so that interpolation across an edge needs no stretching and 1:1 shows the exact pixels.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

TILE_PX = 512
OVERLAP_PX = 1
QUALITY = 92
# Part of a tile's address; to be raised when other bytes get the same names.
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class TilesInfo:
    """The tiling of a picture. width, height: of the picture; tile: side without overlap; all in px."""

    width: int
    height: int
    tile: int = TILE_PX
    overlap: int = OVERLAP_PX
    levels: int
    version: int = VERSION

    def level_size(self, level: int) -> tuple[int, int]:
        """Return (height, width) of a level in px."""
        factor = 2 ** (self.levels - 1 - level)
        return -(-self.height // factor), -(-self.width // factor)

    def count(self) -> int:
        """Return the number of tiles of all levels."""
        sizes = map(self.level_size, range(self.levels))
        return sum(-(-height // self.tile) * -(-width // self.tile) for height, width in sizes)


def tiles_info(height: int, width: int) -> TilesInfo:
    """Return the tiling of a picture of that size in px."""
    across = -(-max(height, width) // TILE_PX)
    return TilesInfo(width=width, height=height, levels=1 + (across - 1).bit_length())


def write_tiles(folder: Path, image: Image.Image) -> TilesInfo:
    """Write the tiles of a picture into `folder`, which appears complete or not at all.

    Earlier tiles are replaced. At most a third of an RGB picture's size is needed in addition to it. Raises
    OSError if the folder cannot be written or the disk is full; what was written is then removed.
    """
    info = tiles_info(image.height, image.width)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(parents=True)
        for level, shrunk in _levels(image, info.levels):
            _write_level(temporary / str(level), shrunk)
        _put(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return info


def _levels(image: Image.Image, count: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield the levels from the largest to the smallest, each half of the one before."""
    image = image if image.mode == "RGB" else image.convert("RGB")
    yield count - 1, image
    for level in range(count - 2, -1, -1):
        # The mean of 2 × 2 pixels, against aliasing.
        image = image.reduce(2)
        yield level, image


def _write_level(folder: Path, image: Image.Image) -> None:
    folder.mkdir()
    for top in range(0, image.height, TILE_PX):
        for left in range(0, image.width, TILE_PX):
            box = (
                max(left - OVERLAP_PX, 0),
                max(top - OVERLAP_PX, 0),
                min(left + TILE_PX + OVERLAP_PX, image.width),
                min(top + TILE_PX + OVERLAP_PX, image.height),
            )
            path = folder / f"{left // TILE_PX}_{top // TILE_PX}.jpg"
            image.crop(box).save(path, "JPEG", quality=QUALITY, subsampling="4:4:4")


def _put(temporary: Path, folder: Path) -> None:
    """Move a finished folder to its place; a folder that is there is renamed first, then removed."""
    before = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    try:
        os.replace(folder, before)  # noqa: PTH105 - the name that says what it does
    except FileNotFoundError:
        os.replace(temporary, folder)  # noqa: PTH105
        return
    os.replace(temporary, folder)  # noqa: PTH105
    shutil.rmtree(before, ignore_errors=True)
