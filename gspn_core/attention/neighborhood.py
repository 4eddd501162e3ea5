"""Neighbourhood patch attention: a UNet's own self-attention weights, each patch seeing what the model was
trained to see at once, so that the cost grows with the pixels (ScaleDiff, arXiv 2510.25818).

Knows windows, the processor that runs them, and how deep in a UNet a map is. Trains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from gspn_core.attention.adapter import hook_map_sizes, self_attentions
from gspn_core.errors import BadTensor, GspnError, ModelUnavailable

# Queries, keys, values and results of the windows that are attended at once take about this much.
_BLOCK_BYTES = {"cpu": 8 * 2**20}
_DEVICE_BLOCK_BYTES = 256 * 2**20


class Patch(NamedTuple):
    """A patch of queries and the corner of its window of keys and values, in tokens of a map."""

    height: int
    width: int
    top: int
    left: int
    window_top: int
    window_left: int


class NeighborhoodProcessor:
    """Run a diffusers self-attention patch by patch, with the attention's own projections.

        out[patch] = to_out(softmax(q[patch] · k[window]ᵀ / √d) · v[window])

    Patches tile the map, windows overlap; see `window_size` and `patches`.

    Attributes:
        training_size: (height, width) of this layer's map at the size the model was trained at.
        map_size: (height, width) of the next token map; height·width must be the number of tokens.
        strides: every n-th token along each side sees the others, over the whole map, in place of windows.
        block_patches: patches attended at once; None decides by size.
    """

    def __init__(self, training_size: tuple[int, int]) -> None:
        self.training_size = training_size
        self.map_size: tuple[int, int] | None = None
        self.block_patches: int | None = None
        self.strides = False

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: object,
    ) -> Tensor:
        """Return what `attn` makes of hidden_states (B, N, C), the tokens in row-major order of the map.

        Raises:
            BadTensor: a map size that is missing or is not N tokens, or an argument that must be None.
        """
        if encoder_hidden_states is not None or attention_mask is not None:
            raise BadTensor("neighborhood takes no encoder_hidden_states or attention_mask; pass None.")
        B, N, _C = hidden_states.shape
        if self.map_size is None:
            raise BadTensor(f"map_size of {N} tokens is unknown; use neighborhood_attention.")
        H, W = self.map_size
        if H * W != N:
            raise BadTensor(f"map_size {H}×{W} must hold {N} tokens; pass the (height, width) of this map.")
        maps = [layer(hidden_states).reshape(B, H, W, -1) for layer in (attn.to_q, attn.to_k, attn.to_v)]
        attend = self._attend_strided if self.strides else self._attend
        mixed = attend(*maps, attn.heads).reshape(B, N, -1)
        for layer in attn.to_out:
            mixed = layer(mixed)
        return mixed

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        """Return attention (B, H, W, C) of maps (B, H, W, C), some patches of one shape at a time."""
        B, H, W, C = query.shape
        window = window_size((H, W), self.training_size)
        out = torch.empty_like(query)
        for (height, width), alike in groupby(patches((H, W), window), key=lambda patch: patch[:2]):
            same = list(alike)
            step = self.block_patches
            if step is None:
                limit = _BLOCK_BYTES.get(query.device.type, _DEVICE_BLOCK_BYTES)
                tokens = 2 * (height * width + window[0] * window[1])
                step = max(1, limit // (B * C * tokens * query.element_size()))
            for start in range(0, len(same), step):
                block = same[start : start + step]
                q = _cut(query, [patch[2:4] for patch in block], (height, width), heads)
                k, v = (_cut(x, [patch[4:] for patch in block], window, heads) for x in (key, value))
                mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2)
                mixed = mixed.reshape(len(block), B, height, width, C)
                for patch, tokens_of_patch in zip(block, mixed, strict=True):
                    out[:, patch.top : patch.top + height, patch.left : patch.left + width] = tokens_of_patch
        return out

    def _attend_strided(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        """Return attention (B, H, W, C) in which a token sees those a whole number of strides away.

        A stride is as many tokens as a side has windows, so the cost is that of the windows.
        """
        B, H, W, C = query.shape
        height, width = window_size((H, W), self.training_size)
        down, across = -(-H // height), -(-W // width)
        out = torch.empty_like(query)
        for top in range(down):
            for left in range(across):
                grid = (slice(None), slice(top, None, down), slice(left, None, across))
                shape = query[grid].shape
                q, k, v = (
                    x[grid].reshape(B, -1, heads, C // heads).transpose(1, 2) for x in (query, key, value)
                )
                out[grid] = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(shape)
        return out


def window_size(map_size: tuple[int, int], training_size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of a map's windows: its n-th part along each side, rounded up.

        n = the power of two, at least 1, nearest to √(H·W / (H_trained·W_trained))

    So a map of about the trained area is one window whatever its aspect (the model then is exactly itself),
    and however often a cascade doubles the sides, the window stays the whole map of its base stage.
    """
    (H, W), (trained_H, trained_W) = map_size, training_size
    n = 2 ** max(0, round(math.log2(H * W / (trained_H * trained_W)) / 2))
    return -(-H // n), -(-W // n)


def patches(map_size: tuple[int, int], window: tuple[int, int]) -> list[Patch]:
    """Return patches that tile the map, each in the middle of its window; those of one shape in a row.

    A patch is half as high and wide as a window, less at the map's bottom and right where halves do not fit.
    Windows that would reach beyond the map are moved inside. A side that a window covers is not divided.
    """
    rows, columns = (_spans(side, width) for side, width in zip(map_size, window, strict=True))
    tiles = [
        Patch(height, width, top, left, window_top, window_left)
        for height, top, window_top in rows
        for width, left, window_left in columns
    ]
    return sorted(tiles, key=lambda patch: patch[:2], reverse=True)


def _spans(side: int, window: int) -> list[tuple[int, int, int]]:
    """Return (length, start, window's start) of every patch along a side."""
    length = side if window >= side else -(-window // 2)
    return [
        (min(length, side - start), start, min(max(0, start - (window - length) // 2), side - window))
        for start in range(0, side, length)
    ]


def _cut(maps: Tensor, corners: list[tuple[int, int]], size: tuple[int, int], heads: int) -> Tensor:
    """Return rectangles of maps (B, H, W, C) as (rectangles·B, heads, tokens, C / heads)."""
    height, width = size
    cut = torch.stack([maps[:, top : top + height, left : left + width] for top, left in corners])
    return cut.reshape(-1, height * width, heads, maps.shape[-1] // heads).transpose(1, 2)


@contextmanager
def neighborhood_attention(unet: nn.Module) -> Iterator[Mapping[str, NeighborhoodProcessor]]:
    """Run the `with` block with a NeighborhoodProcessor in every self-attention (`attn1`) of the UNet.

    The attentions' own processors come back however the block ends.

    Yields:
        the processors by their attention's dotted name.

    Raises:
        GspnError: a self-attention that is not diffusers' own at present.
        ModelUnavailable: a UNet whose config does not say the latents' size that it was trained at.
    """
    attentions = self_attentions(unet)
    for name, attention in attentions.items():
        if not isinstance(attention, Attention):
            raise GspnError(f"neighborhood needs an Attention at {name}, got {type(attention).__name__}.")
    sizes = _training_sizes(unet)
    processors = {name: NeighborhoodProcessor(sizes[_block(name)]) for name in attentions}
    originals = {name: attention.processor for name, attention in attentions.items()}
    hooks = hook_map_sizes(unet, processors)
    try:
        for name, attention in attentions.items():
            attention.set_processor(processors[name])
        yield processors
    finally:
        for handle in hooks:
            handle.remove()
        for name, attention in attentions.items():
            attention.set_processor(originals[name])


@contextmanager
def strided_windows(unet: nn.Module) -> Iterator[None]:
    """Let every NeighborhoodProcessor of a UNet stride over its whole map in the `with` block."""
    found = [
        m.processor
        for m in unet.modules()
        if isinstance(getattr(m, "processor", None), NeighborhoodProcessor)
    ]
    try:
        for processor in found:
            processor.strides = True
        yield
    finally:
        for processor in found:
            processor.strides = False


def _block(name: str) -> str:
    """Return the UNet's block that a layer is in: "down_blocks.1" of "down_blocks.1.attentions.0.…"."""
    first, second, *_ = name.split(".")
    return first if first == "mid_block" else f"{first}.{second}"


def _training_sizes(unet: nn.Module) -> dict[str, tuple[int, int]]:
    """Return every block's map (height, width) at the latents' size that the UNet was trained at."""
    sample = unet.config.sample_size
    if not sample:
        raise ModelUnavailable("the UNet's config has no sample_size, which neighborhood needs; add it.")
    H, W = (sample, sample) if isinstance(sample, int) else sample
    sizes, halvings = {}, 0
    for name, block, turn in [
        *((f"down_blocks.{i}", block, "downsamplers") for i, block in enumerate(unet.down_blocks)),
        ("mid_block", unet.mid_block, ""),
        *((f"up_blocks.{i}", block, "upsamplers") for i, block in enumerate(unet.up_blocks)),
    ]:
        sizes[name] = (-(-H // 2**halvings), -(-W // 2**halvings))
        if getattr(block, turn, None):
            halvings += 1 if turn == "downsamplers" else -1
    return sizes
