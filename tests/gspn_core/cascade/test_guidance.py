import pytest
import torch
from torch import nn

from gspn_core.cascade.guidance import (
    dilated_convolutions,
    gaussian_blur,
    guided_noise_pred,
    match_statistics,
)


def _convolutions(blocks):
    modules = [module for block in blocks for module in block.modules()]
    return [module for module in modules if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]


def test_blur_of_an_impulse_has_the_gaussians_ratio():
    x = torch.zeros(1, 1, 31, 31)
    x[0, 0, 15, 15] = 1
    sigma = 1.3
    blurred = gaussian_blur(x, sigma)[0, 0]
    ratio = torch.exp(torch.tensor(-0.5 / sigma**2))
    torch.testing.assert_close(blurred[15, 16] / blurred[15, 15], ratio)
    torch.testing.assert_close(blurred.sum(), torch.tensor(1.0))
    torch.testing.assert_close(blurred, blurred.T)


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


def test_dilation_reaches_down_and_middle_blocks_only(tiny_pipeline):
    unet = tiny_pipeline.unet
    with dilated_convolutions(unet, 4, "down"):
        down = [c for c in _convolutions([*unet.down_blocks, unet.mid_block]) if c.stride == (1, 1)]
        assert down
        assert all(c.dilation == (4, 4) and c.padding == (4, 4) for c in down)
        assert all(c.dilation == (1, 1) for c in _convolutions(unet.up_blocks))
    with dilated_convolutions(unet, 2, "all"):
        up = [c for c in _convolutions(unet.up_blocks) if c.stride == (1, 1)]
        assert all(c.dilation == (2, 2) for c in up)


def test_dilation_is_restored_when_the_body_raises(tiny_pipeline):
    unet = tiny_pipeline.unet
    before = [(c.dilation, c.padding) for c in _convolutions([unet])]
    with pytest.raises(ZeroDivisionError), dilated_convolutions(unet, 2, "all"):
        raise ZeroDivisionError
    assert [(c.dilation, c.padding) for c in _convolutions([unet])] == before


def test_dilation_keeps_the_output_size_and_changes_the_output(tiny_pipeline, tiny_conditioning):
    unet, x, t = tiny_pipeline.unet, torch.randn(1, 4, 8, 12), torch.tensor(500.0)
    with torch.inference_mode():
        plain = guided_noise_pred(unet, x, t, tiny_conditioning, 3.0)
        with dilated_convolutions(unet, 2, "down"):
            dilated = guided_noise_pred(unet, x, t, tiny_conditioning, 3.0)
        again = guided_noise_pred(unet, x, t, tiny_conditioning, 3.0)
    assert plain.shape == dilated.shape == x.shape
    assert not torch.allclose(plain, dilated)
    assert torch.equal(plain, again)


def test_guidance_extrapolates_from_the_unconditional_prediction(tiny_pipeline, tiny_conditioning):
    unet, x, t = tiny_pipeline.unet, torch.randn(1, 4, 8, 8), torch.tensor(500.0)
    with torch.inference_mode():
        conditional = guided_noise_pred(unet, x, t, tiny_conditioning, 1.0)
        two = guided_noise_pred(unet, x, t, tiny_conditioning, 2.0)
        three = guided_noise_pred(unet, x, t, tiny_conditioning, 3.0)
    torch.testing.assert_close(three - two, two - conditional, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(two, conditional)


def test_guidance_scale_one_runs_the_conditional_row_alone(tiny_pipeline, tiny_conditioning):
    unet, seen = tiny_pipeline.unet, []
    hook = unet.register_forward_pre_hook(lambda _, args, __: seen.append(args[0].shape[0]), with_kwargs=True)
    try:
        with torch.inference_mode():
            for scale in (1.0, 3.0):
                guided_noise_pred(unet, torch.randn(1, 4, 8, 8), torch.tensor(9.0), tiny_conditioning, scale)
    finally:
        hook.remove()
    assert seen == [1, 2]
