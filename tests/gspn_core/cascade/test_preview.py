import torch

from gspn_core.cascade.preview import DecodedPreview, Preview


def test_the_preview_is_fitted_to_the_vae_and_small(tiny_pipeline):
    preview = Preview(tiny_pipeline.vae)
    assert preview.weight.shape == (3, 5)
    assert preview.image(torch.randn(1, 4, 8, 12)).size == (12, 8)
    assert max(preview.image(torch.randn(1, 4, 300, 512)).size) == 256


def test_a_small_decoder_shows_the_latents_at_eight_times_their_size_up_to_512_px():
    from diffusers import AutoencoderTiny

    decoder = AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(1,) * 4,
        num_decoder_blocks=(1,) * 4,
    )
    preview = DecodedPreview(decoder.eval())
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        small = preview.image(torch.randn(1, 4, 8, 16, generator=generator))
        large = preview.image(torch.randn(1, 4, 100, 200, generator=generator))
    assert small.size == (128, 64)
    assert large.size == (512, 256)
    assert len(small.getcolors()) > 5
