"""Low-pass filters of the cascade: the Gaussian, matched statistics, and the base restored in an image."""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch.nn import functional

from gspn_core.cascade.latents import to_sample
from gspn_core.planning.types import Size

# Enlarging and shrinking again is not quite the identity; the second pass takes what the first one left.
_PASSES = 2
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
    """Return x, (B, C, H, W), blurred by a Gaussian of `sigma` pixels; borders reflect: a flat map stays."""
    if sigma <= 0:
        return x
    C, H, W = x.shape[1:]
    kernel = gaussian_kernel(sigma).to(x)
    radius = len(kernel) // 2
    for length, shape in ((H, (-1, 1)), (W, (1, -1))):
        weight = kernel.view(1, 1, *shape).expand(C, 1, -1, -1)
        sides = (0, 0, radius, radius) if shape[0] == -1 else (radius, radius, 0, 0)
        # A reflection reaches no further than the map; beyond that its rim goes on.
        mode = "reflect" if radius < length else "replicate"
        x = functional.conv2d(functional.pad(x, sides, mode=mode), weight, groups=C)
    return x


def match_statistics(x: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return x, (B, C, H, W), with its mean and standard deviation per channel set to the reference's."""
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
    wanted_mean, wanted_std = reference.mean((2, 3), keepdim=True), reference.std((2, 3), keepdim=True)
    return (x - mean) / std.clamp_min(1e-6) * wanted_std + wanted_mean


def restore_base(
    sample: torch.Tensor, before: Image.Image, size: Size, *, weight: float, sigma_px: float
) -> torch.Tensor:
    """Set the low band of a decoded sample to that of the image it was made from, in place.

        sample += weight · enlarge(G_σ(before - shrink(sample)))

    shrink takes means over areas, enlarge is bicubic. At weight 1 and σ 0 the result, shrunk, is `before`:
    what the stage added above the band stays, what it changed below it does not (iterative back-projection,
    Irani and Peleg 1991).

    Args:
        sample: (1, 3, H, W) in [-1, 1].
        before: the image of the stage before.
        size: its size in px in the plan; H and W are multiples of it.
        weight: share in [0, 1].
        sigma_px: width of the low-pass G in px of `before`.
    """
    if weight <= 0:
        return sample
    wanted = to_sample(before, size).to(sample.device)
    kernel = sample.shape[2] // size.height, sample.shape[3] // size.width
    for _ in range(1 if sigma_px > 0 else _PASSES):
        apart = gaussian_blur(wanted - functional.avg_pool2d(sample, kernel), sigma_px)
        for channel in range(sample.shape[1]):
            one = apart[:, channel : channel + 1]
            sample[:, channel : channel + 1] += weight * functional.interpolate(
                one, size=sample.shape[2:], mode="bicubic"
            )
    return sample
