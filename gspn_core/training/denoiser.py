"""Train the denoiser: the UNet and both text encoders together, on the latents of the render cache."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTokenizer

from gspn_core.training.checkpoint import digest_of, save_checkpoint
from gspn_core.training.data import RenderCache, caption_of, held_out, no_renders, view_of
from gspn_core.training.initial_weights import start_model
from gspn_core.training.log import Log, save_sheet
from gspn_core.training.loop import Loop
from gspn_core.training.nets import (
    build_pipeline,
    build_scheduler,
    build_text_encoders,
    build_tokenizer,
    build_unet,
    encode_prompts,
)
from gspn_core.training.recipe import Recipe
from gspn_core.training.vae import latents_of, to_pictures
from gspn_core.world.captions import EXAMPLES, corpus

CAPTION_DROPOUT = 0.1
OFFSET_NOISE = 0.05
SNR_LIMIT = 5.0
# An object covers few cells but much of the caption; with equal weights it would be learnt last.
THING_WEIGHT = 5.0
HELD_OUT_BATCHES = 4


@dataclass(frozen=True, kw_only=True)
class LatentSet:
    """Every cached picture as latents (N, 4, h, w), with its number."""

    latents: torch.Tensor
    numbers: np.ndarray


def encode_cache(recipe: Recipe, vae: AutoencoderKL, cache: RenderCache) -> LatentSet:
    """Encode the cache, or read the encoding of an earlier call from work/latents.pt.

    They are encoded again if pictures were added, or the encoder changed.

    Raises:
        GspnError: the cache is empty.
    """
    path, numbers = recipe.work / "latents.pt", cache.ready()
    if not len(numbers):
        raise no_renders(recipe.data)
    made_by = encoder_digest(vae)
    if path.exists():
        state = torch.load(path, weights_only=True)
        if state.get("encoder") == made_by and np.array_equal(state["numbers"].numpy(), numbers):
            return LatentSet(latents=state["latents"], numbers=numbers)
    vae = vae.to(memory_format=torch.channels_last)
    latents = torch.cat([*latents_of(vae, cache, numbers)])
    state = {"latents": latents, "numbers": torch.from_numpy(numbers), "encoder": made_by}
    save_checkpoint(state, path)
    return LatentSet(latents=latents, numbers=numbers)


def encoder_digest(vae: AutoencoderKL) -> str:
    """Return a digest of the weights that latents depend on: those of the encoder."""
    return digest_of(vae.encoder, vae.quant_conv)


class Batch(NamedTuple):
    """Latents (B, 4, h, w), captions, add_time_ids (B, 6), and a mask of objects (B, 1, h, w)."""

    latents: torch.Tensor
    captions: list[str]
    time_ids: torch.Tensor
    things: torch.Tensor | None = None


class Batches:
    """Draws training batches: latents, encoded captions and micro-conditioning of random pictures."""

    def __init__(self, cache: RenderCache, data: LatentSet, places: np.ndarray, rng: np.random.Generator):
        self.cache, self.data, self.places, self.rng = cache, data, places, rng

    def draw(self, size: int) -> Batch:
        """Return the latents of random pictures with fresh captions, some of them empty."""
        places = self.rng.choice(self.places, size=size)
        seed, base_px = self.cache.seed, self.cache.base_px
        latents = self.data.latents[torch.from_numpy(places)]
        captions, ids, masks = [], [], []
        for number in self.data.numbers[places]:
            empty = self.rng.random() < CAPTION_DROPOUT
            captions.append("" if empty else caption_of(int(number), seed=seed, rng=self.rng))
            view = view_of(int(number), seed=seed, base_px=base_px)
            ids.append(view.time_ids(self.rng))
            masks.append(view.thing_mask(latents.shape[-1]))
        things = torch.from_numpy(np.stack(masks))[:, None]
        return Batch(latents, captions, torch.tensor(ids, dtype=torch.float32), things)


def add_noise(latents: torch.Tensor, alphas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise latents (B, 4, h, w) at timesteps spread evenly over the batch.

    The noise has a small offset per channel, so that the mean brightness is learnt too.
    Returns: noisy latents, noise (B, 4, h, w), timesteps (B,).
    """
    size = len(latents)
    spread = (torch.randperm(size) + torch.rand(size)) / size
    timesteps = (spread * len(alphas)).long().clamp(max=len(alphas) - 1)
    noise = torch.randn_like(latents) + OFFSET_NOISE * torch.randn(size, latents.shape[1], 1, 1)
    alpha = alphas[timesteps][:, None, None, None]
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise, noise, timesteps


def min_snr_weights(alphas: torch.Tensor) -> torch.Tensor:
    """Return the loss weight per timestep, min(SNR, 5) / SNR for predicted noise (arXiv 2303.09556)."""
    snr = alphas / (1 - alphas)
    return snr.clamp(max=SNR_LIMIT) / snr


def build_model(recipe: Recipe) -> tuple[CLIPTokenizer, dict[str, nn.Module]]:
    """Build the tokenizer and the parts that train together, by their names in the pipeline."""
    tokenizer = _tokenizer(recipe.seed, recipe.corpus_captions)
    first, second = build_text_encoders(recipe.nets, tokenizer)
    unet = build_unet(recipe.nets).to(memory_format=torch.channels_last)
    # With 256 tokens, plain matrix products in bfloat16 are faster on a CPU than fused attention.
    unet.set_attn_processor(AttnProcessor())
    return tokenizer, {"unet": unet, "text_encoder": first, "text_encoder_2": second}


@cache
def _tokenizer(seed: int, captions: int) -> CLIPTokenizer:
    """Return the tokenizer of a corpus, cached: learning its pairs takes seconds."""
    return build_tokenizer(corpus(captions, np.random.default_rng(seed)))


def predict_noise(
    modules: Mapping[str, nn.Module],
    tokenizer: CLIPTokenizer,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    captions: list[str],
    time_ids: torch.Tensor,
) -> torch.Tensor:
    """Run the UNet on noisy latents (B, 4, h, w), in bfloat16 where that is safe: noise_pred, float32."""
    with torch.autocast("cpu", torch.bfloat16):
        encoders = (modules["text_encoder"], modules["text_encoder_2"])
        embeds, pooled = encode_prompts(tokenizer, encoders, captions)
        added = {"text_embeds": pooled, "time_ids": time_ids}
        noisy = noisy.to(memory_format=torch.channels_last)
        return modules["unet"](noisy, timesteps, embeds, added_cond_kwargs=added).sample.float()


def train_model(recipe: Recipe) -> None:
    """Train the UNet and both text encoders; the checkpoint is work/model.pt."""
    torch.manual_seed(recipe.seed)
    cache, log = RenderCache(recipe.data), Log(recipe.work / "model.jsonl")
    tokenizer, modules = build_model(recipe)
    if recipe.start:
        log(taken_over_tokens=start_model(modules, tokenizer, recipe.start), of=len(tokenizer))
    vae = AutoencoderKL.from_pretrained(recipe.work / "vae")
    data = encode_cache(recipe, vae, cache)
    loop = Loop(modules, recipe.model_loop, recipe.work / "model.pt")
    alphas = build_scheduler().alphas_cumprod
    weights, first = min_snr_weights(alphas), held_out(cache.count)
    rng = np.random.default_rng((recipe.seed, loop.step))
    batches = Batches(cache, data, np.flatnonzero(data.numbers >= first), rng)
    kept = np.random.default_rng(recipe.seed)
    measure = [
        Batches(cache, data, np.flatnonzero(data.numbers < first), kept).draw(recipe.model_batch)
        for _ in range(HELD_OUT_BATCHES)
    ]

    def distance(parts: Mapping[str, nn.Module], batch: Batch, thing_weight: float = 1.0) -> torch.Tensor:
        noisy, noise, timesteps = add_noise(batch.latents, alphas)
        predicted = predict_noise(parts, tokenizer, noisy, timesteps, batch.captions, batch.time_ids)
        squares = (predicted - noise).square() * torch.where(batch.things, thing_weight, 1.0)
        return (squares.mean(dim=(1, 2, 3)) * weights[timesteps]).mean()

    def evaluate() -> None:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(recipe.seed)
            log(
                step=loop.step,
                held_out_loss=float(np.mean([float(distance(loop.averages, b)) for b in measure])),
            )
        pipeline = pipeline_of(loop.averages, vae, tokenizer)
        save_sheet(recipe.work / "sheets" / f"model-{loop.step:06d}.png", sample_rows(pipeline, recipe))

    loop.run(lambda _: (distance(modules, batches.draw(recipe.model_batch), THING_WEIGHT), {}), log, evaluate)


def pipeline_of(
    modules: Mapping[str, nn.Module], vae: AutoencoderKL, tokenizer: CLIPTokenizer
) -> StableDiffusionXLPipeline:
    """Join trained parts by name into a pipeline."""
    encoders = (modules["text_encoder"], modules["text_encoder_2"])
    return build_pipeline(vae, modules["unet"], encoders, tokenizer)


@torch.no_grad()
def sample_rows(pipeline: StableDiffusionXLPipeline, recipe: Recipe) -> list[np.ndarray]:
    """Draw the example prompts from fixed noise, in two rows."""
    side = recipe.nets.base_px
    pipeline.set_progress_bar_config(disable=True)
    with torch.autocast("cpu", torch.bfloat16):
        latents = pipeline(
            list(EXAMPLES), height=side, width=side, num_inference_steps=recipe.sheet_steps,
            guidance_scale=recipe.sheet_guidance, generator=torch.Generator().manual_seed(recipe.seed),
            original_size=(side, side), target_size=(side, side), output_type="latent",
        ).images  # fmt: skip
    pictures = np.concatenate(
        [to_pictures(pipeline.vae.decode(part.float()).sample) for part in latents.split(2)]
    )
    half = len(pictures) // 2
    return [pictures[:half], pictures[half : 2 * half]]
