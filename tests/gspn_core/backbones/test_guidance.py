import torch

from gspn_core.backbones.sdxl import guided_noise_pred


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
