import numpy as np
import torch
from PIL import Image

from gspn_core.backbones.samples import to_image, to_sample
from gspn_core.controls.keep_base import restore_base
from gspn_core.metrics.fidelity import psnr
from gspn_core.planning.types import Size


def _noisy(side, seed):
    pixels = np.random.default_rng(seed).integers(40, 216, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_restored_sample_shrinks_to_the_image_before_and_keeps_its_detail():
    before = _noisy(6, 0).resize((48, 48), Image.Resampling.BICUBIC)
    sample = to_sample(_noisy(96, 1), Size(96, 96)) * 0.5
    high = sample - _area(sample)
    restored = restore_base(sample.clone(), before, Size(48, 48), weight=1.0, sigma_px=0.0)
    assert psnr(to_image(restored).resize((48, 48), Image.Resampling.BOX), before) > 40
    kept = restored - _area(restored)
    assert torch.corrcoef(torch.stack([kept.flatten(), high.flatten()]))[0, 1] > 0.95


def _area(sample):
    small = torch.nn.functional.avg_pool2d(sample, 2)
    return torch.nn.functional.interpolate(small, scale_factor=2, mode="nearest")


def test_a_wide_low_pass_restores_colour_and_leaves_structures():
    before = Image.new("RGB", (32, 32), (200, 60, 40))
    sample = to_sample(_noisy(64, 3), Size(64, 64))
    restored = restore_base(sample.clone(), before, Size(32, 32), weight=1.0, sigma_px=30.0)
    mean = to_sample(before, Size(32, 32)).mean((2, 3))
    torch.testing.assert_close(restored.mean((2, 3)), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(restored.std((2, 3)), sample.std((2, 3)), atol=0.02, rtol=0)


def test_a_weight_of_zero_leaves_the_sample_alone():
    sample = to_sample(_noisy(32, 4), Size(32, 32))
    assert torch.equal(
        restore_base(sample.clone(), _noisy(16, 5), Size(16, 16), weight=0.0, sigma_px=0.0), sample
    )
