import math

import numpy as np
import pytest
import torch

from gspn_core.controls.filters import gaussian_blur, gaussian_kernel, match_statistics


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3, 0.4, 0.5, 0.8, 1.3, 2.0, 4.0])
def test_the_blur_has_the_variance_of_the_continuous_gaussian(sigma):
    x = torch.zeros(1, 1, 1, 101, dtype=torch.float64)
    x[..., 50] = 1
    row = gaussian_blur(x, sigma)[0, 0, 0]
    offsets = torch.arange(101, dtype=torch.float64) - 50
    assert float(row.sum()) == pytest.approx(1)
    assert float((row * offsets**2).sum()) == pytest.approx(sigma**2, rel=0.02)


def test_blurring_twice_adds_the_variances():
    x = torch.randn(1, 2, 33, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    twice = gaussian_blur(gaussian_blur(x, 0.6), 0.8)
    torch.testing.assert_close(twice, gaussian_blur(x, 1.0), atol=1e-4, rtol=0)


def test_a_wide_kernel_is_the_sampled_gaussian():
    kernel, sigma = gaussian_kernel(6.0), 6.0
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    sampled = np.exp(-(offsets**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(kernel.numpy(), sampled, atol=3e-4)


def test_sigma_changes_the_blur():
    x = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(0))
    stds = [gaussian_blur(x, sigma).std().item() for sigma in (0.3, 0.8, 2.0)]
    assert stds[0] > 1.2 * stds[1] > 1.4 * stds[2]


def test_blur_reflects_at_the_border_so_a_flat_map_stays_flat():
    x = torch.full((1, 4, 5, 9), 0.7)
    torch.testing.assert_close(gaussian_blur(x, 4.0), x)


def test_a_sigma_of_zero_leaves_the_map_alone():
    x = torch.randn(1, 4, 8, 8)
    assert gaussian_blur(x, 0.0) is x


def test_match_statistics_takes_mean_and_std_per_channel():
    generator = torch.Generator().manual_seed(0)
    x, reference = (
        torch.randn(1, 4, 9, 7, generator=generator),
        torch.randn(1, 4, 5, 5, generator=generator) * 3 + 1,
    )
    y = match_statistics(x, reference)
    torch.testing.assert_close(y.mean((2, 3)), reference.mean((2, 3)))
    torch.testing.assert_close(y.std((2, 3)), reference.std((2, 3)))
