"""Train the super-resolution network of the world: `python -m gspn_core.training.superres PART --work DIR`.

`pairs` renders crops at two sizes, `train` teaches the network to make the large one of the small one,
`export` writes it where a model keeps it. Losses: L1 over the picture and a Laplacian pyramid, local texture
energy, and, after a first part without, a patch discriminator.
"""

import argparse
import io
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageFilter
from torch import nn

from gspn_core.errors import GspnError
from gspn_core.metrics.fidelity import psnr
from gspn_core.metrics.samples import to_sample
from gspn_core.superres.network import SuperResolution, noise_for
from gspn_core.superres.weights import save_network
from gspn_core.training.discriminator import Discriminator, adaptive_weight
from gspn_core.training.log import Log, save_sheet
from gspn_core.training.loop import Loop, LoopConfig
from gspn_core.training.picture_pairs import Pairs, draw_pairs, read_pairs
from gspn_core.training.precision import fast_autocast
from gspn_core.training.vae import TEXTURE_WEIGHT, grain, picture_loss, to_pictures

MEASURED = 32
ADVERSARIAL_WEIGHT = 0.2
# Share of the minutes before the discriminator takes part.
PLAIN_SHARE = 0.5
# Of the small pictures: through the model's autoencoder, as pictures that it draws; blurred, noised or JPEG.
CODED_SHARE, WORN_SHARE = 0.4, 0.2
# Standard deviation, at most, of the noise on latents of unit variance: errors of a sampled picture.
LATENT_NOISE = 0.15
# Standard deviation in px, at most, of the blur of worn pictures.
WORN_BLUR_PX = 0.7


@dataclass(frozen=True, kw_only=True)
class SuperResConfig:
    """Folders, counts and rates. model: a folder whose autoencoder codes a share of the small pictures."""

    work: Path
    model: Path = Path("assets/world")
    seed: int = 0
    count: int = 3000
    batch: int = 4
    loop: LoopConfig = LoopConfig(minutes=45, learning_rate=1.5e-3, decay_share=0.5, average_decay=0.998)


class Worn:
    """Makes of true small pictures what a network is given in use."""

    def __init__(self, vae: AutoencoderKL) -> None:
        self.vae = vae

    def __call__(self, small: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Return uint8 (B, s, s, 3) as samples (B, 3, s, s) in [-1, 1], a share of them coded or worn."""
        kinds = rng.random(len(small))
        worn = (kinds >= CODED_SHARE) & (kinds < CODED_SHARE + WORN_SHARE)
        sample = torch.from_numpy(
            to_sample(np.stack([_worn(p, rng) if w else p for p, w in zip(small, worn, strict=True)]))
        )
        coded = torch.from_numpy(np.flatnonzero(kinds < CODED_SHARE))
        if len(coded):
            sample[coded] = self._coded(sample[coded], rng)
        return sample

    @torch.no_grad()
    def _coded(self, sample: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        with fast_autocast():
            latents = self.vae.encode(sample.to(memory_format=torch.channels_last)).latent_dist.mode()
            strength = float(rng.uniform(0, LATENT_NOISE))
            decoded = self.vae.decode(latents + strength * torch.randn_like(latents)).sample
        # A picture is stored in 8 bits.
        return (((decoded.float().clamp(-1, 1) + 1) * 127.5).round() / 127.5) - 1


def _worn(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture (s, s, 3) blurred, noised and as JPEG, each at times."""
    if rng.random() < 0.5:
        blur = ImageFilter.GaussianBlur(rng.uniform(0, WORN_BLUR_PX))
        picture = np.asarray(Image.fromarray(picture).filter(blur))
    values = picture.astype(np.float32)
    if rng.random() < 0.7:
        values += rng.normal(0, rng.uniform(0, 4), values.shape)
    image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if rng.random() < 0.7:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=int(rng.integers(60, 98)))
        image = Image.open(stream)
    return np.asarray(image)


def train(config: SuperResConfig) -> Loop:
    """Train the network; return the loop with its average.

    Raises:
        GspnError: there are no pairs.
    """
    torch.manual_seed(config.seed)
    pairs, log = read_pairs(config.work / "pairs"), Log(config.work / "superres.jsonl")
    network = SuperResolution().to(memory_format=torch.channels_last)
    vae = AutoencoderKL.from_pretrained(config.model / "vae").float().requires_grad_(False)
    discriminator, worn = Discriminator(), Worn(vae.to(memory_format=torch.channels_last))
    loop = Loop(
        {"network": network}, config.loop, config.work / "superres.pt", {"discriminator": discriminator}
    )

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng((config.seed, 10, number))
        picked = rng.integers(min(MEASURED, len(pairs.small) // 2), len(pairs.small), size=config.batch)
        small, large = turned(pairs.small[picked], pairs.large[picked], rng)
        drawn = enlarged(network, worn(small, rng))
        truth = torch.from_numpy(to_sample(large)).to(memory_format=torch.channels_last)
        pixels, texture = picture_loss(drawn, truth)
        logged = {"pixels": float(pixels.detach()), "texture": float(texture.detach())}
        loss = pixels + TEXTURE_WEIGHT * texture
        if loop.seconds > 60 * config.loop.minutes * PLAIN_SHARE:
            logged["discriminator_gap"] = discriminator.discriminator_step(truth, drawn)
            adversarial = discriminator.generator_loss(truth, drawn)
            weight = adaptive_weight(loss, adversarial, network.end.weight)
            loss = loss + ADVERSARIAL_WEIGHT * weight * adversarial
        return loss, logged

    loop.run(step, log, lambda: measure(loop, pairs, worn, config, log))
    return loop


def turned(small: np.ndarray, large: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs, all mirrored or not."""
    return (small[:, :, ::-1].copy(), large[:, :, ::-1].copy()) if rng.random() < 0.5 else (small, large)


def enlarged(network: nn.Module, sample: torch.Tensor) -> torch.Tensor:
    """Run the network on samples (B, 3, h, w), in the fast dtype where safe: float32 (B, 3, 4h, 4w)."""
    height, width = sample.shape[2:]
    noise = tuple(torch.randn(len(sample), 1, *fine.shape[2:]) for fine in noise_for(height, width))
    with fast_autocast():
        return network(sample.to(memory_format=torch.channels_last), noise).float()


@torch.no_grad()
def measure(loop: Loop, pairs: Pairs, worn: Worn, config: SuperResConfig, log: Log) -> None:
    """Log the averaged network's figures on held-out pairs, with bicubic's, and write a sheet."""
    count = min(MEASURED, len(pairs.small) // 2)
    small, large = pairs.small[:count], pairs.large[:count]
    rng, sample = np.random.default_rng(config.seed), torch.from_numpy(to_sample(small))
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        coded = worn._coded(sample, rng)
        drawn = [enlarged(loop.averages["network"], given).clamp(-1, 1) for given in (sample, coded)]
    truth = torch.from_numpy(to_sample(large))
    bicubic = nn.functional.interpolate(sample, scale_factor=4, mode="bicubic").clamp(-1, 1)
    figures = {}
    for name, given in zip(("true", "coded", "bicubic"), (*drawn, bicubic), strict=True):
        shown = zip(to_pictures(given), large, strict=True)
        figures[f"psnr_{name}"] = fmean(psnr(*map(Image.fromarray, pair)) for pair in shown)
        figures[f"grain_{name}"] = grain(given, truth)
    log(step=loop.step, **figures)
    rows = [to_pictures(given[:6]) for given in (bicubic, *drawn)] + [large[:6]]
    save_sheet(config.work / "sheets" / f"superres-{loop.step:06d}.png", rows)


def main(arguments: list[str] | None = None) -> None:
    """Run a part from the command line."""
    root = argparse.ArgumentParser(
        prog="python -m gspn_core.training.superres", description=__doc__.splitlines()[0]
    )
    root.add_argument("part", choices=("pairs", "train", "export"))
    root.add_argument("--work", type=Path, required=True, help="folder of pairs and checkpoints")
    root.add_argument("--model", type=Path, default=SuperResConfig.model, help="whose pictures it enlarges")
    root.add_argument(
        "--out", type=Path, help="where export writes (default: the folder superres in --model)"
    )
    root.add_argument("--count", type=int, default=SuperResConfig.count, help="pairs to render")
    root.add_argument("--batch", type=int, default=SuperResConfig.batch)
    root.add_argument("--minutes", type=float, default=SuperResConfig.loop.minutes, help="of training")
    root.add_argument("--processes", type=int, default=2, help="processes that render")
    root.add_argument("--threads", type=int, default=2)
    root.add_argument("--seed", type=int, default=0)
    given = root.parse_args(arguments)
    torch.set_num_threads(given.threads)
    minutes = 0.0 if given.part == "export" else given.minutes
    config = SuperResConfig(
        work=given.work, model=given.model, seed=given.seed, count=given.count, batch=given.batch,
        loop=replace(SuperResConfig.loop, minutes=minutes),
    )  # fmt: skip
    try:
        if given.part == "pairs":
            draw_pairs(config.work / "pairs", count=config.count, seed=config.seed, processes=given.processes)
            return
        loop = train(config)
        if given.part == "export":
            save_network(loop.averages["network"], given.out or config.model / "superres")
    except GspnError as error:
        root.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
