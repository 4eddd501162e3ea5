"""The network: residual convolutions at the small size, GSPN mixers at half of it, two enlargements.

    features = convolutions(I)                       h × w
    features = features + up(mixers(down(features))) the mixers see the whole picture in linear time
    out = bicubic(I) + tail(features, noise)         4h × 4w

Noise is added to the features of both enlargements, weighted per channel, so that texture which the small
picture cannot tell is drawn rather than averaged away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle, silu

from gspn_core.attention.gspn import GSPNMixer

SCALE = 4


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Widths and depths.

    channels: at the small picture's size; inner_channels: at half of it; fine_channels: at twice and at four
    times; blocks: before the mixers and after them; inner_blocks: each with a mixer.
    """

    channels: int = 32
    inner_channels: int = 64
    fine_channels: tuple[int, int] = (16, 8)
    blocks: int = 2
    inner_blocks: int = 3
    heads: int = 2


class SuperResolution(nn.Module):
    """Enlarge pictures (B, 3, h, w) in [-1, 1], h and w even, to (B, 3, 4h, 4w)."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        wide, (fine, finest) = config.channels, config.fine_channels
        self.begin = _conv(3, wide)
        self.before = nn.Sequential(*(_Residual(wide) for _ in range(config.blocks)))
        self.down = nn.Conv2d(4 * wide, config.inner_channels, 1)
        self.inner = nn.ModuleList(
            _Mixing(config.inner_channels, config.heads) for _ in range(config.inner_blocks)
        )
        self.up = nn.Conv2d(config.inner_channels, 4 * wide, 1)
        self.after = nn.Sequential(*(_Residual(wide) for _ in range(config.blocks)))
        self.enlarge = nn.ModuleList((_Enlarge(wide, fine), _Enlarge(fine, finest)))
        self.end = _conv(finest, 3)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)

    def forward(self, pictures: Tensor, noise: tuple[Tensor, Tensor]) -> Tensor:
        """Return the pictures enlarged, (B, 3, 4h, 4w).

        noise: standard, (B, 1, 2h, 2w) and (B, 1, 4h, 4w).
        """
        features = self.before(self.begin(pictures))
        inner = self.down(pixel_unshuffle(features, 2))
        for block in self.inner:
            inner = block(inner)
        features = self.after(features + pixel_shuffle(self.up(inner), 2))
        for enlarge, fine in zip(self.enlarge, noise, strict=True):
            features = enlarge(features, fine)
        return interpolate(pictures, scale_factor=SCALE, mode="bicubic") + self.end(features)


def noise_for(height: int, width: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Return the network's noise for pictures of height × width px, float32, of batch size 1."""
    finest = torch.randn(1, 1, SCALE * height, SCALE * width, generator=generator)
    half = torch.randn(1, 1, SCALE * height // 2, SCALE * width // 2, generator=generator)
    return half, finest


class _Residual(nn.Module):
    """x + conv(silu(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv(channels, channels), _conv(channels, channels)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(silu(self.first(x)))


class _Mixing(nn.Module):
    """A GSPN mixer on normed tokens, then a residual convolution."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mixer = GSPNMixer(channels, heads=heads)
        self.residual = _Residual(channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        mixed = self.mixer(tokens, map_size=(height, width))
        return self.residual(x + mixed.transpose(1, 2).unflatten(2, (height, width)))


class _Enlarge(nn.Module):
    """Twice the size: convolution, pixel shuffle, weighted noise, convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.widen, self.second = _conv(channels, 4 * out), _conv(out, out)
        self.noise_weight = nn.Parameter(torch.zeros(1, out, 1, 1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        x = pixel_shuffle(self.widen(x), 2)
        return x + self.second(silu(x + self.noise_weight * noise.to(x.dtype)))


def _conv(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1)
