"""The Gaussian low-pass and matched statistics."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

# The kernel ends where what is left of it is below a millionth.
_REACH = 6.0


def gaussian_kernel(sigma: float) -> torch.Tensor:
    """Return the discrete Gaussian e^(-s)·I_k(s), s = σ², for k from -r to r, float64 (2r + 1,).

    Its variance is σ² at every σ, also below half a pixel, where a sampled Gaussian collapses to the identity
    (Lindeberg 1990). It is the inverse Fourier transform of exp(s·(cos ω - 1)).
    """
    radius = max(1, math.ceil(_REACH * sigma)) + 2
    omega = 2 * math.pi * torch.arange(8 * radius, dtype=torch.float64) / (8 * radius)
    whole = torch.fft.ifft(torch.exp(sigma**2 * (torch.cos(omega) - 1))).real
    kernel = torch.cat([whole[-radius:], whole[: radius + 1]])
    return kernel / kernel.sum()


def gaussian_blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return x, (B, C, H, W), blurred by a Gaussian of `sigma` px; borders reflect, so a flat map stays."""
    if sigma <= 0:
        return x
    C, H, W = x.shape[1:]
    kernel = gaussian_kernel(sigma).to(x)
    radius = len(kernel) // 2
    for length, shape in ((H, (-1, 1)), (W, (1, -1))):
        weight = kernel.view(1, 1, *shape).expand(C, 1, -1, -1)
        sides = (0, 0, radius, radius) if shape[0] == -1 else (radius, radius, 0, 0)
        # A reflection cannot be longer than the map; beyond that the border is repeated.
        mode = "reflect" if radius < length else "replicate"
        x = functional.conv2d(functional.pad(x, sides, mode=mode), weight, groups=C)
    return x


def match_statistics(x: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return x, (B, C, H, W), with its mean and standard deviation per channel set to the reference's."""
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
    wanted_mean, wanted_std = reference.mean((2, 3), keepdim=True), reference.std((2, 3), keepdim=True)
    return (x - mean) / std.clamp_min(1e-6) * wanted_std + wanted_mean
