"""Where the tiles of a large picture or map start. Pure arithmetic."""

from __future__ import annotations

# Share of a tile that its neighbour covers too, at least.
OVERLAP = 0.25


def tile_starts(length: int, tile: int, unit: int = 1) -> list[int]:
    """Return where tiles start along `length`: multiples of `unit` that overlap by a quarter or more."""
    if length <= tile:
        return [0]
    stride = max(unit, int(tile * (1 - OVERLAP)) // unit * unit)
    last = length - tile
    return [*range(0, last, stride), last]


def tile_count(height: int, width: int, tile: int) -> int:
    """Return how many tiles a map of height × width has."""
    return len(tile_starts(height, tile)) * len(tile_starts(width, tile))


def x4_tile_side(sample_side: int) -> int:
    """Return the side of the x4 upscaler's tiles in latents: twice that of its training."""
    return 2 * sample_side
