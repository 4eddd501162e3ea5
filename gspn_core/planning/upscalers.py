"""Upscaler models next to the base model: what a plan needs to know of them, and their costs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gspn_core.errors import BadSetting
from gspn_core.tiling import tile_count

# A picture with a longer side is enlarged in tiles of this side, in px of the small picture.
UPSCALER_TILE_PX = 192


@dataclass(frozen=True, kw_only=True)
class UpscalerFile:
    """An upscaler model of the ESRGAN family.

    Args:
        name: of its file, without the suffix.
        digest: of the file's content.
        scale: how many times as large it makes a picture.
        parameters: count of its weights.
        px_elements: numbers alive at its peak for each pixel of the small picture.
        px_operations: operations for each of them.
    """

    name: str
    digest: str
    scale: int
    parameters: int
    px_elements: int
    px_operations: float


def chosen_upscaler(upscalers: Sequence[UpscalerFile], name: str) -> UpscalerFile:
    """Return the model of that name, the first for "".

    Raises:
        BadSetting: there is none of that name.
    """
    found = {upscaler.name: upscaler for upscaler in upscalers}
    if name and name not in found:
        there = ", ".join(list(found)[:12]) + (" …" if len(found) > 12 else "")
        raise BadSetting("upscaler", f"upscaler: no model {name[:60]!r} here; there are {there}.")
    return found[name] if name else upscalers[0]


def pass_cost(upscaler: UpscalerFile, before: tuple[int, int], after: tuple[int, int]) -> tuple[int, float]:
    """Return the bytes without weights and the operations of one pass.

    Args:
        upscaler: the model, which computes in float32.
        before: height and width in px of the small picture.
        after: of the stage.
    """
    height, width = before
    tile = UPSCALER_TILE_PX
    at_once = height * width if max(before) <= tile else min(height, tile) * min(width, tile)
    tiles = tile_count(height, width, tile)
    drawn = height * width * upscaler.scale**2
    # The float32 picture with its map of weights, then its bytes, and both pictures of a resize.
    joined = (4 * 4 + 12 + 6) * drawn + 6 * after[0] * after[1]
    peak = 4 * upscaler.px_elements * at_once + joined
    return peak, tiles * at_once * upscaler.px_operations
