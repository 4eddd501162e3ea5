import copy

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from gspn_core.backbones.codec import Autoencoder
from gspn_core.backbones.samples import to_image, to_sample
from gspn_core.models.catalog import WORLD_FOLDER
from gspn_core.planning.types import Size
from gspn_core.superres.tiles import tiled
from gspn_core.tiling import tile_starts


def _finish(work):
    tiles = []
    while True:
        try:
            tiles.append(next(work))
        except StopIteration as done:
            return done.value, tiles


@pytest.fixture
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_picture_is_the_same_after_a_sample_was_made_of_it(picture):
    assert to_image(to_sample(picture, Size(48, 80))).tobytes() == picture.tobytes()


def test_a_picture_is_resized_in_rgb_by_lanczos(picture):
    sample = to_sample(picture, Size(96, 160))
    assert sample.shape == (1, 3, 96, 160)
    expected = picture.resize((160, 96), Image.Resampling.LANCZOS)
    assert to_image(sample).tobytes() == expected.tobytes()


def test_values_outside_the_range_are_clipped():
    sample = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).expand(1, 3, 1, 5)
    assert np.array(to_image(sample))[0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(("length", "tile", "unit"), [(100, 32, 8), (128, 32, 1), (33, 32, 1), (32, 32, 8)])
def test_tiles_cover_the_length_overlap_and_start_on_the_unit(length, tile, unit):
    length = length // unit * unit if unit > 1 else length
    starts = tile_starts(length, tile, unit)
    assert starts[0] == 0
    assert starts[-1] + tile >= length
    assert all(start % unit == 0 for start in starts)
    assert all(b - a <= tile * 3 // 4 for a, b in zip(starts, starts[1:], strict=False))


def test_encode_divides_by_eight_and_scales_the_mean(tiny_pipeline, picture):
    sample = to_sample(picture, Size(64, 96))
    with torch.inference_mode():
        latents, tiles = _finish(Autoencoder(tiny_pipeline.vae, None).encode(sample))
        direct = tiny_pipeline.vae.encode(sample).latent_dist.mean
    assert tiles == [(1, 1)]
    assert latents.shape == (1, 4, 8, 12)
    torch.testing.assert_close(latents, direct * tiny_pipeline.vae.config.scaling_factor)


def test_tiles_report_progress_and_agree_with_the_whole_away_from_their_rims(tiny_pipeline):
    latents = torch.randn(1, 4, 24, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, _ = _finish(Autoencoder(tiny_pipeline.vae, None).decode(latents))
        tiled, tiles = _finish(Autoencoder(tiny_pipeline.vae, 128).decode(latents))
    assert tiled.shape == whole.shape == (1, 3, 192, 256)
    assert tiles == [(i, 6) for i in range(1, 7)]
    assert torch.isfinite(tiled).all()
    assert (tiled - whole).abs().mean() < 0.25 * whole.std()


def test_a_constant_tile_function_leaves_no_seam():
    source = torch.randn(1, 3, 20, 28, generator=torch.Generator().manual_seed(0))
    result, _ = _finish(tiled(lambda tile: tile, source, tuple(source.shape), 8, (1, 1), source.device))
    torch.testing.assert_close(result, source)


def test_the_embedded_autoencoder_in_bfloat16_is_within_50_db_of_float32_and_has_no_bands():
    def psnr(a, b):
        return 10 * torch.log10(4 / (a.clamp(-1, 1) - b.clamp(-1, 1)).square().mean()).item()

    whole = AutoencoderKL.from_pretrained(WORLD_FOLDER / "vae").to(memory_format=torch.channels_last)
    half = copy.deepcopy(whole).to(torch.bfloat16)
    ramp = torch.linspace(-0.9, 0.9, 256).expand(1, 3, 256, -1).contiguous()
    for sample in (ramp, ramp + 0.3 * torch.sin(torch.arange(256.0) ** 1.4)[:, None]):
        with torch.inference_mode():
            latents = [_finish(Autoencoder(vae, None).encode(sample))[0] for vae in (whole, half)]
            made = [_finish(Autoencoder(vae, None).decode(latents[0]))[0] for vae in (whole, half)]
            both = _finish(Autoencoder(half, None).decode(latents[1]))[0]
        assert psnr(made[1], made[0]) > 50
        assert psnr(both, made[0]) > 50
    levels = [len(np.unique(np.array(to_image(sample)))) for sample in made]
    assert levels[1] >= 0.97 * levels[0]
