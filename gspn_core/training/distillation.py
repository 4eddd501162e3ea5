"""Distillation of self-attention into GSPN mixers: the teacher, the losses and the held-out figures."""

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from gspn_core.attention.gspn import GSPNConfig
from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.errors import GspnError
from gspn_core.training.captured import Captured
from gspn_core.training.data import RenderCache, caption_of, held_out
from gspn_core.training.denoiser import (
    Batch,
    Batches,
    LatentSet,
    add_noise,
    build_model,
    encode_cache,
    min_snr_weights,
    pipeline_of,
    predict_noise,
    sample_rows,
)
from gspn_core.training.initial_weights import start_mixers
from gspn_core.training.large_views import LargeViews
from gspn_core.training.log import Log, save_sheet
from gspn_core.training.loop import Loop
from gspn_core.training.nets import build_scheduler
from gspn_core.training.recipe import Recipe
from gspn_core.training.teacher import read_teacher
from gspn_core.training.trajectories import Moment, Trajectories

# The teacher's prediction is a target without noise; at equal weight it would hardly count.
TEACHER_WEIGHT = 10.0
LAYER_WEIGHT = 0.5
LARGE_SHARE = 0.25
# Larger views cost more, so a batch has fewer of them.
LARGE_BATCH_DIVISOR = 4
# Batches that a held-out loss is averaged over.
MEASURES = 4
# Guidance scales of the pictures sampled in on-policy distillation; the range that users choose.
GUIDANCE = (2.0, 4.0)


class Distillation:
    """A frozen teacher, an adapter that learns from it, and the batches that both see."""

    def __init__(
        self,
        recipe: Recipe,
        config: GSPNConfig | None = None,
        *,
        names: Collection[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Read the teacher, encode the cache where needed, and make the mixers.

        Args:
            config: of the mixers, None for the default.
            names: the self-attentions that mixers replace, None for all.
            folder: for checkpoints, figures and sheets; None for the work folder.

        Raises:
            GspnError: the work folder has another seed or no pictures, or there is no teacher.
        """
        cache = RenderCache(recipe.data)
        if cache.seed != recipe.seed:
            # Captions and scenes depend on it.
            raise GspnError(
                f"{recipe.work} was trained with seed {cache.seed}, got {recipe.seed}; "
                f"give --seed {cache.seed}."
            )
        torch.manual_seed(recipe.seed)
        self.folder = folder or recipe.work
        self.recipe, self.rng = recipe, np.random.default_rng((recipe.seed, 1))
        self.tokenizer, modules = build_model(recipe)
        trained = read_teacher(recipe, self.tokenizer, modules)
        for module in modules.values():
            module.requires_grad_(False)
        self.modules, self.unet = modules, modules["unet"]
        self.vae = AutoencoderKL.from_pretrained(trained / "vae").float()
        data = encode_cache(recipe, self.vae, cache)
        self.batches, self.measures = self._split(cache, data)
        self.large = LargeViews(recipe, self.vae.to(memory_format=torch.contiguous_format), self.rng)
        self.alphas = build_scheduler().alphas_cumprod
        self.weights = min_snr_weights(self.alphas)
        self.log = Log(self.folder / "distill.jsonl")
        # Initialise mixers equally, whether or not the cache was encoded before.
        torch.manual_seed(recipe.seed)
        self.adapter = GSPNAdapter.construct_for(self.unet, config, names=names)
        if recipe.start:
            taken = start_mixers(self.adapter, recipe.start / "gspn_adapter")
            self.log(mixers_begin="as they were" if taken else "new")

    def _split(self, cache: RenderCache, data: LatentSet) -> tuple[Batches, Batches]:
        first = held_out(cache.count)
        train, kept = np.flatnonzero(data.numbers >= first), np.flatnonzero(data.numbers < first)
        measuring = np.random.default_rng((self.recipe.seed, 2))
        return Batches(cache, data, train, self.rng), Batches(cache, data, kept, measuring)

    def _draw(self) -> tuple[torch.Tensor, list[str], torch.Tensor]:
        size = self.recipe.distill_batch
        if self.rng.random() < LARGE_SHARE:
            return self.large.draw(max(1, size // LARGE_BATCH_DIVISOR))
        return self.batches.draw(size)

    def _predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, batch: Batch) -> torch.Tensor:
        return predict_noise(self.modules, self.tokenizer, noisy, timesteps, batch.captions, batch.time_ids)

    def layerwise_step(self, _: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of layer-wise distillation and what to log of it.

        Every mixer against its attention, on the attention's own input; no gradient between blocks:

            mean over layers |mixer - attention|² / var(attention)
        """
        batch = self._draw()
        noisy, _noise, timesteps = add_noise(batch.latents, self.alphas)
        seen = Captured()
        with torch.no_grad(), seen.of(self.unet, self.adapter.mixers):
            self._predict(noisy, timesteps, batch)
        errors = []
        for name, mixer in self.adapter.mixers.items():
            with torch.autocast("cpu", torch.bfloat16):
                mixed = mixer(seen.inputs[name], map_size=seen.map_sizes[name]).float()
            truth = seen.outputs[name].float()
            errors.append((mixed - truth).square().mean() / truth.var())
        loss = torch.stack(errors).mean()
        return loss, {"worst": float(max(errors).detach())}

    def end_to_end_step(self, _: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of end-to-end distillation and what to log of it.

        The UNet with mixers against the noise, against the teacher, and layer by layer.
        """
        batch = self._draw()
        noisy, noise, timesteps = add_noise(batch.latents, self.alphas)
        taught, learnt = Captured(), Captured()
        with torch.no_grad(), taught.of(self.unet, self.adapter.mixers):
            teacher = self._predict(noisy, timesteps, batch)
        with self.adapter.injected(), learnt.of(self.unet, self.adapter.mixers):
            student = self._predict(noisy, timesteps, batch)
        weights = self.weights[timesteps]
        noise_error = ((student - noise).square().mean(dim=(1, 2, 3)) * weights).mean()
        teacher_error = ((student - teacher).square().mean(dim=(1, 2, 3)) * weights).mean()
        layer_error = torch.stack(
            [
                (learnt.outputs[name].float() - taught.outputs[name].float()).square().mean()
                for name in self.adapter.mixers
            ]
        ).mean()
        loss = noise_error + TEACHER_WEIGHT * teacher_error + LAYER_WEIGHT * layer_error
        parts = {"noise": noise_error, "teacher": teacher_error, "layers": layer_error}
        return loss, {name: float(value.detach()) for name, value in parts.items()}

    def on_policy_step(self, _: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of on-policy distillation and what to log of it; advance the sampler by one step.

        The UNet with mixers against the teacher, on latents sampled by the mixers themselves (Ross et al.,
        1011.0686). The loss includes both halves of a guidance pair and their guided combination. Larger
        views, in their share of the steps, are noised as in end-to-end distillation, since sampling them
        takes too long.
        """
        if self.rng.random() < LARGE_SHARE:
            moment = self._large_moment()
            apart, _student = self._pairs_apart(moment)
        else:
            moment = self.trajectories.now()
            apart, student = self._pairs_apart(moment)
            self.trajectories.advance(moment.guided(student.detach()))
        guided_error = (moment.guided(apart).square() * moment.weights).mean()
        plain_error = (apart.square() * moment.weights.repeat(2, 1, 1, 1)).mean()
        logged = {"guided": float(guided_error.detach()), "plain": float(plain_error.detach())}
        return guided_error + plain_error, logged

    def _pairs_apart(self, moment: Moment) -> tuple[torch.Tensor, torch.Tensor]:
        """Return student - teacher, and the student's prediction: both (2·B, 4, h, w)."""
        noisy, timesteps, captions, time_ids = moment.pairs()
        batch = Batch(noisy, captions, time_ids)
        with torch.no_grad():
            teacher = self._predict(noisy, timesteps, batch)
        with self.adapter.injected():
            student = self._predict(noisy, timesteps, batch)
        return student - teacher, student

    def _large_moment(self) -> Moment:
        batch = self.large.draw(max(1, self.recipe.distill_batch // 2 // LARGE_BATCH_DIVISOR))
        noisy, _noise, timesteps = add_noise(batch.latents, self.alphas)
        guidance = torch.empty(len(noisy), 1, 1, 1).uniform_(*GUIDANCE)
        weights = self.weights[timesteps][:, None, None, None]
        return Moment(noisy, timesteps, batch.captions, batch.time_ids, guidance, weights)

    @cached_property
    def trajectories(self) -> Trajectories:
        """The pictures that the mixers sample and are trained on."""
        count = self.batches.cache.count
        return self._trajectories(range(held_out(count), count), self.rng)

    def _trajectories(
        self, numbers: range, rng: np.random.Generator, *, staggered: bool = True
    ) -> Trajectories:
        recipe = self.recipe

        def next_caption() -> str:
            number = int(rng.integers(numbers.start, numbers.stop))
            return caption_of(number, seed=recipe.seed, rng=rng)

        return Trajectories(
            max(1, recipe.distill_batch // 2), next_caption, rng, base_px=recipe.nets.base_px,
            scheduler=recipe.scheduler, steps=recipe.on_policy_steps, guidance=GUIDANCE, staggered=staggered,
        )  # fmt: skip

    def reseed(self, place: int, step: int) -> None:
        """Seed the batches by pass and step, so that a resumed pass does not repeat its first batches."""
        fresh = np.random.default_rng((self.recipe.seed, 1, place, step))
        self.rng.bit_generator.state = fresh.bit_generator.state

    def load_averages(self, loop: Loop) -> None:
        """Put a loop's averaged mixers into the adapter."""
        averaged = loop.averages["mixers"]
        for mixer, average in zip(self.adapter.mixers.values(), averaged, strict=True):
            mixer.load_state_dict(average.state_dict())

    @torch.no_grad()
    def losses(self) -> dict[str, float]:
        """Return held-out noise losses with attention and with mixers, and the distance of their predictions.

        At the training size, and separately on views of twice its side.
        """
        kept = np.random.default_rng((self.recipe.seed, 3))
        measures = Batches(self.measures.cache, self.measures.data, self.measures.places, kept)
        large = LargeViews(self.recipe, self.vae, kept)
        large.shapes = large.shapes[:1]
        with torch.random.fork_rng():
            torch.manual_seed(self.recipe.seed)
            sums, size = np.zeros(4), self.recipe.distill_batch
            for _ in range(MEASURES):
                sums[:3] += self._apart(measures.draw(size))
                sums[3] += self._apart(large.draw(max(1, size // LARGE_BATCH_DIVISOR)))[2]
        names = ("attention_loss", "mixer_loss", "apart", "apart_at_twice_the_side")
        return dict(zip(names, (float(value) for value in sums / MEASURES), strict=True))

    def _apart(self, batch: Batch) -> np.ndarray:
        """Return the noise loss of the teacher and of the student, and the distance between the two."""
        noisy, noise, timesteps = add_noise(batch.latents, self.alphas)
        weights = self.weights[timesteps][:, None, None, None]
        teacher = self._predict(noisy, timesteps, batch)
        with self.adapter.injected():
            student = self._predict(noisy, timesteps, batch)
        pairs = ((teacher, noise), (student, noise), (student, teacher))
        return np.array([float((weights * (a - b).square()).mean()) for a, b in pairs])

    @torch.no_grad()
    def on_policy_distance(self) -> float:
        """Return the distance of guided predictions while mixers sample held-out captions."""
        kept = range(held_out(self.batches.cache.count))
        rng = np.random.default_rng((self.recipe.seed, 4))
        trajectories = self._trajectories(kept, rng, staggered=False)
        found = []
        for _ in range(self.recipe.on_policy_steps):
            moment = trajectories.now()
            apart, student = self._pairs_apart(moment)
            trajectories.advance(moment.guided(student))
            found.append(float((moment.guided(apart).square() * moment.weights).mean()))
        return float(np.mean(found))

    @torch.no_grad()
    def measure(self, step: int) -> None:
        """Log the held-out losses and write a sheet of pictures by attention and by mixers."""
        self.log(step=step, **self.losses(), apart_while_drawing=self.on_policy_distance())
        with torch.random.fork_rng():
            pipeline = pipeline_of(self.modules, self.vae, self.tokenizer)
            rows = sample_rows(pipeline, self.recipe)[:1]
            with self.adapter.injected():
                rows += sample_rows(pipeline, self.recipe)[:1]
        save_sheet(self.folder / "sheets" / f"distill-{step:06d}.png", rows)
