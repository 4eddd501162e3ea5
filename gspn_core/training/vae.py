"""Train the autoencoder: pictures to latents and back."""

from collections.abc import Iterator
from statistics import fmean

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import nn

from gspn_core.metrics.fidelity import psnr
from gspn_core.metrics.samples import to_sample
from gspn_core.training.data import RenderCache, crops
from gspn_core.training.discriminator import Discriminator, adaptive_weight
from gspn_core.training.initial_weights import start_vae
from gspn_core.training.log import Log, save_sheet
from gspn_core.training.loop import Loop
from gspn_core.training.nets import build_vae, fold_latent_statistics
from gspn_core.training.recipe import Recipe

PRIOR_WEIGHT = 3e-4
TEXTURE_WEIGHT = 0.5
ADVERSARIAL_WEIGHT = 0.3
HALVED_SHARE = 0.2
PYRAMID_LEVELS = 3


def train_vae(recipe: Recipe) -> AutoencoderKL:
    """Train the autoencoder, fold its latent statistics in and save it under work/vae.

    Loss: L1 over the picture and a Laplacian pyramid, local texture energy, a small pull of the latents
    towards the unit Gaussian; one batch in five decodes halved latents to the halved picture (EQ-VAE,
    2502.09509), which keeps the latents smooth enough for a small UNet.
    """
    torch.manual_seed(recipe.seed)
    cache, log = RenderCache(recipe.data), Log(recipe.work / "vae.jsonl")
    vae = build_vae(recipe.nets).to(memory_format=torch.channels_last)
    if recipe.start:
        start_vae(vae, recipe.start)
    loop = Loop({"vae": vae}, recipe.vae_loop, recipe.work / "vae.pt")
    loop.run(_Steps(recipe, cache, vae), log, lambda: _report(recipe, cache, loop, log))
    vae = loop.averages["vae"]
    latents = torch.cat([*latents_of(vae, cache, cache.ready()[:512])])
    mean, std = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    log(latent_mean=str(mean.tolist()), latent_std=str(std.tolist()))
    fold_latent_statistics(vae, mean, std)
    vae.to(memory_format=torch.contiguous_format).save_pretrained(recipe.work / "vae")
    return vae


def train_decoder(recipe: Recipe) -> AutoencoderKL:
    """Train the decoder of work/vae further and save it there; latents and UNet stay valid.

    An adversarial loss is added: detail that the latents lack is decoded as grain, not as blur.
    """
    torch.manual_seed(recipe.seed)
    cache, log = RenderCache(recipe.data), Log(recipe.work / "decoder.jsonl")
    vae = AutoencoderKL.from_pretrained(recipe.work / "vae").to(memory_format=torch.channels_last)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    discriminator = Discriminator()
    stateful = {"critic": discriminator}
    loop = Loop({"vae": vae}, recipe.decoder_loop, recipe.work / "decoder.pt", stateful)
    steps = _Steps(recipe, cache, vae, discriminator)
    loop.run(steps, log, lambda: _report(recipe, cache, loop, log))
    vae = loop.averages["vae"]
    vae.to(memory_format=torch.contiguous_format).save_pretrained(recipe.work / "vae")
    return vae


class _Steps:
    """Called with a step's number: one batch of crops through the autoencoder (and a discriminator)."""

    def __init__(
        self,
        recipe: Recipe,
        cache: RenderCache,
        vae: AutoencoderKL,
        discriminator: Discriminator | None = None,
    ) -> None:
        self.recipe, self.cache, self.vae, self.discriminator = recipe, cache, vae, discriminator

    def __call__(self, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        recipe, cache = self.recipe, self.cache
        rng = np.random.default_rng((recipe.seed, step))
        numbers = rng.choice(cache.train_numbers(), size=recipe.vae_batch)
        sample = torch.from_numpy(crops(cache, numbers, size=recipe.vae_crop_px, rng=rng))
        sample = sample.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = self.vae.encode(sample).latent_dist
            latents = posterior.sample()
            if rng.random() < HALVED_SHARE:
                latents = nn.functional.avg_pool2d(latents, 2)
                sample = nn.functional.avg_pool2d(sample, 2)
            decoded = self.vae.decode(latents).sample
        mean, variance = posterior.mean.float(), posterior.var.float()
        prior = 0.5 * (mean.square() + variance - 1 - posterior.logvar.float()).mean()
        decoded = decoded.float()
        pixels, texture = picture_loss(decoded, sample)
        logged = {"pixels": float(pixels.detach()), "texture": float(texture.detach())}
        loss = pixels + TEXTURE_WEIGHT * texture + PRIOR_WEIGHT * prior
        if self.discriminator is not None:
            logged["discriminator_gap"] = self.discriminator.discriminator_step(sample, decoded)
            adversarial = self.discriminator.generator_loss(sample, decoded)
            weight = adaptive_weight(loss, adversarial, self.vae.decoder.conv_out.weight)
            logged["generator_loss"] = float(adversarial.detach())
            loss = loss + ADVERSARIAL_WEIGHT * weight * adversarial
        return loss, logged


def _report(recipe: Recipe, cache: RenderCache, loop: Loop, log: Log) -> None:
    """Log the averaged weights' figures on held-out pictures and write a sheet, rendered over decoded."""
    rendered = cache.images[cache.held_out_numbers()[:16]]
    sample = torch.from_numpy(to_sample(rendered))
    decoded = reconstruct(loop.averages["vae"], sample)
    pictures = to_pictures(decoded)
    pairs = [map(Image.fromarray, pair) for pair in zip(rendered, pictures, strict=True)]
    log(
        step=loop.step,
        held_out_psnr_db=fmean(psnr(*pair) for pair in pairs),
        held_out_grain=grain(decoded, sample),
    )
    sheet = recipe.work / "sheets" / f"{loop.path.stem}-{loop.step:06d}.png"
    save_sheet(sheet, [rendered[:8], pictures[:8]])


def picture_loss(decoded: torch.Tensor, sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare pictures (B, 3, H, W) band by band.

    Returns: the L1 distance of the picture and of each Laplacian band; the L1 distance of each band's local
    energy, which rewards grain where there is grain even if its position is lost.
    """
    pixels, texture = nn.functional.l1_loss(decoded, sample), decoded.new_zeros(())
    for _ in range(PYRAMID_LEVELS):
        small, small_truth = nn.functional.avg_pool2d(decoded, 2), nn.functional.avg_pool2d(sample, 2)
        band = decoded - nn.functional.interpolate(small, scale_factor=2.0)
        band_truth = sample - nn.functional.interpolate(small_truth, scale_factor=2.0)
        pixels = pixels + nn.functional.l1_loss(band, band_truth)
        texture = texture + nn.functional.l1_loss(
            nn.functional.avg_pool2d(band.abs(), 4), nn.functional.avg_pool2d(band_truth.abs(), 4)
        )
        decoded, sample = small, small_truth
    return pixels + nn.functional.l1_loss(decoded, sample), texture


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, sample: torch.Tensor, batch: int = 4) -> torch.Tensor:
    """Encode and decode (N, 3, H, W) in [-1, 1] in float32, in small batches."""
    parts = [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in sample.split(batch)]
    return torch.cat(parts).clamp(-1, 1)


def grain(decoded: torch.Tensor, sample: torch.Tensor) -> float:
    """Return the energy of the finest octave of pictures (N, 3, H, W) over that of the samples."""
    decoded, sample = (
        picture - nn.functional.interpolate(nn.functional.avg_pool2d(picture, 2), scale_factor=2.0)
        for picture in (decoded, sample)
    )
    return float(decoded.square().sum() / sample.square().sum())


def to_pictures(sample: torch.Tensor) -> np.ndarray:
    """Turn (N, 3, H, W) in [-1, 1] into uint8 (N, H, W, 3)."""
    return ((sample.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def latents_of(
    vae: AutoencoderKL, cache: RenderCache, numbers: np.ndarray, batch: int = 16
) -> Iterator[torch.Tensor]:
    """Yield the latents of these numbers, batch by batch."""
    for start in range(0, len(numbers), batch):
        sample = torch.from_numpy(to_sample(cache.images[numbers[start : start + batch]]))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            mode = vae.encode(sample.to(memory_format=torch.channels_last)).latent_dist.mode()
        yield mode.float().contiguous()
