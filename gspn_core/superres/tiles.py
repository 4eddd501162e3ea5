"""A function of maps, evaluated in tiles that are blended where they overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from gspn_core.tiling import OVERLAP, tile_starts


def tiled(
    one: Callable[[Tensor], Tensor],
    source: Tensor,
    shape: tuple[int, ...],
    tile: int | None,
    ratio: tuple[int, int],
    device: torch.device,
) -> Iterator[tuple[int, int]]:
    """Yield the number of each finished tile, from 1, and how many there are; return the whole.

    Args:
        one: of a tile, (1, c, h, w) to (1, C, h', w').
        source: (1, c, H, W).
        shape: of the result.
        tile: side of the tiles, in px of the source; None, or none that is smaller, takes it in one piece.
        ratio: of a side of the result to one of the source, as two whole numbers.
        device: of the result.

    Returns:
        float32, blended linearly where tiles overlap.
    """
    up, down = ratio
    H, W = source.shape[2:]
    if tile is None or max(H, W) <= tile:
        result = one(source).float()
        yield 1, 1
        return result
    grid = list(product(tile_starts(H, tile, down), tile_starts(W, tile, down)))
    result = torch.zeros(shape, dtype=torch.float32, device=device)
    total = torch.zeros(1, 1, *shape[2:], dtype=torch.float32, device=device)
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


def _ramp(length: int, rim: int, device: torch.device) -> Tensor:
    position = torch.arange(length, device=device, dtype=torch.float32)
    return torch.minimum(position + 1, length - position).clamp_max(rim) / rim
