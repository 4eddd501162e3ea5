"""Distil the embedded model's self-attention into GSPN mixers: `python -m gspn_core.training.distill`.

Three passes: each mixer alone learns from its own attention's inputs and outputs; then all of them together
learn inside the UNet; then they learn where the sampler takes them, on pictures that they draw themselves and
on what guidance makes of a prediction. Besides square latents of the training size every pass sees long and
larger ones, so that the mixers hold where a cascade takes them.
"""

import argparse
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from gspn_core.attention.gspn import GSPNConfig
from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.errors import GspnError
from gspn_core.metrics.samples import to_sample
from gspn_core.training import nets as _nets
from gspn_core.training.data import RenderCache, caption_of, held_out
from gspn_core.training.denoiser import (
    Batch,
    Batches,
    LatentSet,
    add_noise,
    build_model,
    encode_cache,
    encoder_digest,
    min_snr_weights,
    pipeline_of,
    predict_noise,
    sample_rows,
)
from gspn_core.training.initial_weights import start_mixers, start_model
from gspn_core.training.log import Log, save_sheet
from gspn_core.training.loop import BeganFrom, Loop, digest_of, save_atomically
from gspn_core.training.recipe import Recipe
from gspn_core.training.trajectories import Moment, Trajectories
from gspn_core.world.render.draw import render
from gspn_core.world.scene import sample_scene

# The teacher's own prediction is a target without noise: at equal weight it would hardly be heard.
TEACHER_WEIGHT = 10.0
LAYER_WEIGHT = 0.5
# Height and width of larger views, in training sides: a square one and both long ones.
LARGE_SHAPES = ((2.0, 2.0), (1.0, 1.5), (1.5, 1.0))
LARGE_SHARE = 0.25
# A larger view costs more: fewer of them in a batch.
LARGE_BATCH_DIVISOR = 4
# Batches that a held-out loss is the mean of.
MEASURES = 4
# Guidance that pictures are drawn with while mixers learn from them: what a user may well ask for.
GUIDANCE = (2.0, 4.0)


class LargeViews:
    """Whole views larger or longer than those trained on, as latents, told like all the others."""

    def __init__(self, recipe: Recipe, vae: AutoencoderKL, rng: np.random.Generator) -> None:
        self.recipe, self.rng = recipe, rng
        path, made_by = recipe.work / "large.pt", encoder_digest(vae)
        state = torch.load(path, weights_only=True) if path.exists() else None
        if not isinstance(state, dict) or state["encoder"] != made_by:
            state = {"shapes": [*self._encode(vae)], "encoder": made_by}
            save_atomically(state, path)
        self.shapes = state["shapes"]

    def _encode(self, vae: AutoencoderKL) -> Iterator[torch.Tensor]:
        side, count = self.recipe.nets.base_px, self.recipe.large_views
        for tall, wide in LARGE_SHAPES:
            latents = []
            for number in range(count):
                scene = sample_scene(np.random.default_rng((self.recipe.seed, self._number(number))))
                picture = render(scene, height=int(tall * side), width=int(wide * side))
                with torch.no_grad():
                    sample = torch.from_numpy(to_sample(picture[None]))
                    latents.append(vae.encode(sample).latent_dist.mode())
            yield torch.cat(latents)

    def _number(self, place: int) -> int:
        """Return the number of a scene beyond the render cache."""
        return self.recipe.pictures + place

    def draw(self, size: int) -> Batch:
        """Return views of one shape."""
        latents = self.shapes[int(self.rng.integers(len(self.shapes)))]
        places = self.rng.integers(len(latents), size=size)
        told = [caption_of(self._number(int(p)), seed=self.recipe.seed, rng=self.rng) for p in places]
        height, width = (_nets.LATENT_FACTOR * side for side in latents.shape[2:])
        side = self.recipe.nets.base_px
        ids = torch.tensor([[height, width, 0, 0, side, side]], dtype=torch.float32).repeat(size, 1)
        return Batch(latents[torch.from_numpy(places)], told, ids)


class Captured:
    """The inputs and outputs of named modules during one forward pass."""

    def __init__(self) -> None:
        self.inputs: dict[str, torch.Tensor] = {}
        self.outputs: dict[str, torch.Tensor] = {}
        self.map_sizes: dict[str, tuple[int, int]] = {}

    @contextmanager
    def of(self, unet: nn.Module, names: Mapping[str, object]) -> Iterator["Captured"]:
        """Watch the modules of these names for the length of a `with` block."""
        handles = []
        for name in names:
            module = unet.get_submodule(name)
            handles.append(module.register_forward_hook(self._keep(name), with_kwargs=True))
            block = unet.get_submodule(name.split(".transformer_blocks")[0])
            handles.append(block.register_forward_pre_hook(self._keep_size(name)))
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, name: str):
        def hook(_: nn.Module, args: tuple, kwargs: dict, output: torch.Tensor) -> None:
            self.inputs[name] = args[0] if args else kwargs["hidden_states"]
            self.outputs[name] = output

        return hook

    def _keep_size(self, name: str):
        def hook(_: nn.Module, args: tuple) -> None:
            self.map_sizes[name] = tuple(args[0].shape[2:])

        return hook


class Distillation:
    """A frozen teacher, an adapter that learns from it, and the batches both see."""

    def __init__(
        self,
        recipe: Recipe,
        config: GSPNConfig | None = None,
        *,
        names: Collection[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        cache = RenderCache(recipe.data)
        if cache.seed != recipe.seed:
            # The words and the scenes behind the numbers hang on it.
            told = f"was trained with seed {cache.seed}, got {recipe.seed}; give --seed {cache.seed}."
            raise GspnError(f"{recipe.work} {told}")
        torch.manual_seed(recipe.seed)
        self.folder = folder or recipe.work
        self.recipe, self.rng = recipe, np.random.default_rng((recipe.seed, 1))
        self.tokenizer, modules = build_model(recipe)
        folder = self._read_teacher(modules)
        for module in modules.values():
            module.requires_grad_(False)
        self.modules, self.unet = modules, modules["unet"]
        self.vae = AutoencoderKL.from_pretrained(folder / "vae").float()
        data = encode_cache(recipe, self.vae, cache)
        self.batches, self.measures = self._split(cache, data)
        self.large = LargeViews(recipe, self.vae.to(memory_format=torch.contiguous_format), self.rng)
        self.alphas = _nets.build_scheduler().alphas_cumprod
        self.weights = min_snr_weights(self.alphas)
        self.log = Log(self.folder / "distill.jsonl")
        # Mixers begin alike whatever had to be encoded before.
        torch.manual_seed(recipe.seed)
        self.adapter = GSPNAdapter.construct_for(self.unet, config, names=names)
        if recipe.start:
            taken = start_mixers(self.adapter, recipe.start / "gspn_adapter")
            self.log(mixers_begin="as they were" if taken else "anew")

    def _read_teacher(self, modules: Mapping[str, nn.Module]) -> Path:
        """Read the trained model of the work folder, or else that of recipe.start; returns which it was."""
        work, start = self.recipe.work, self.recipe.start
        if (work / "model.pt").is_file():
            state = torch.load(work / "model.pt", weights_only=True)["averages"]
            for name, module in modules.items():
                module.load_state_dict(state[name])
            return work
        if start is None:
            raise GspnError(f"{work} holds no trained model (model.pt); train one or name one with --start.")
        parts = ("unet", "vae", "tokenizer", *(name for name in modules if name != "unet"))
        missing = [name for name in parts if not (start / name).is_dir()]
        if missing:
            raise GspnError(
                f"{start} has no {', '.join(missing)}; name a model's folder such as assets/world."
            )
        try:
            taken = start_model(modules, self.tokenizer, start)
        except RuntimeError as error:
            raise GspnError(f"The model in {start} has other shapes than the recipe's.") from error
        if taken < len(self.tokenizer):
            told = f"knows {taken} of this world's {len(self.tokenizer)} tokens"
            remedy = "train one with `python -m gspn_core.training.train`"
            raise GspnError(f"The model in {start} {told}; {remedy}.")
        return start

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
        return predict_noise(self.modules, self.tokenizer, noisy, timesteps, batch.told, batch.time_ids)

    def align_step(self, _: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare every mixer with its attention on the attention's own input; no gradient between blocks."""
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

    def whole_step(self, _: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare the UNet under mixers with the noise, with the teacher, and layer by layer."""
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
        told_losses = {"noise": noise_error, "teacher": teacher_error, "layers": layer_error}
        return loss, {name: float(value.detach()) for name, value in told_losses.items()}

    def drawn_step(self, _: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare the UNet under mixers with the teacher on pictures that the mixers draw, one step on.

        An error that leads astray is met with what the teacher would do there (Ross et al., 1011.0686). Both
        halves of a guidance pair count, and what guidance makes of their errors. Larger views, in their share
        of the steps, are noised as in the pass before: drawing these takes too long.
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
        told_losses = {"guided": float(guided_error.detach()), "plain": float(plain_error.detach())}
        return guided_error + plain_error, told_losses

    def _pairs_apart(self, moment: Moment) -> tuple[torch.Tensor, torch.Tensor]:
        """Return how far the mixers' prediction is from the teacher's, and theirs: both (2·B, 4, h, w)."""
        noisy, timesteps, told, time_ids = moment.pairs()
        batch = Batch(noisy, told, time_ids)
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
        return Moment(noisy, timesteps, batch.told, batch.time_ids, guidance, weights)

    @cached_property
    def trajectories(self) -> Trajectories:
        """The pictures that the mixers draw and learn from."""
        count = self.batches.cache.count
        return self._trajectories(range(held_out(count), count), self.rng)

    def _trajectories(
        self, numbers: range, rng: np.random.Generator, *, staggered: bool = True
    ) -> Trajectories:
        recipe = self.recipe

        def tell() -> str:
            number = int(rng.integers(numbers.start, numbers.stop))
            return caption_of(number, seed=recipe.seed, rng=rng)

        return Trajectories(
            max(1, recipe.distill_batch // 2), tell, rng, base_px=recipe.nets.base_px,
            scheduler=recipe.scheduler, steps=recipe.drawn_steps, guidance=GUIDANCE, staggered=staggered,
        )  # fmt: skip

    def reseed(self, place: int, step: int) -> None:
        """Draw from here on what belongs to a step of the pass at this place, not the first batches again."""
        fresh = np.random.default_rng((self.recipe.seed, 1, place, step))
        self.rng.bit_generator.state = fresh.bit_generator.state

    def load_averages(self, loop: Loop) -> None:
        """Put a loop's averaged mixers into the adapter."""
        averaged = loop.averages["mixers"]
        for mixer, average in zip(self.adapter.mixers.values(), averaged, strict=True):
            mixer.load_state_dict(average.state_dict())

    @torch.no_grad()
    def losses(self) -> dict[str, float]:
        """Return held-out noise losses with attention and with mixers, and how far apart the two predict.

        All at the training size, and apart on views of twice its side as well.
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
    def apart_while_drawing(self) -> float:
        """Return how far guided predictions are apart while mixers draw held-out captions."""
        kept = range(held_out(self.batches.cache.count))
        rng = np.random.default_rng((self.recipe.seed, 4))
        trajectories = self._trajectories(kept, rng, staggered=False)
        found = []
        for _ in range(self.recipe.drawn_steps):
            moment = trajectories.now()
            apart, student = self._pairs_apart(moment)
            trajectories.advance(moment.guided(student))
            found.append(float((moment.guided(apart).square() * moment.weights).mean()))
        return float(np.mean(found))

    @torch.no_grad()
    def measure(self, step: int) -> None:
        """Log the held-out losses and write a sheet of what attention and mixers draw."""
        self.log(step=step, **self.losses(), apart_while_drawing=self.apart_while_drawing())
        with torch.random.fork_rng():
            pipeline = pipeline_of(self.modules, self.vae, self.tokenizer)
            rows = sample_rows(pipeline, self.recipe)[:1]
            with self.adapter.injected():
                rows += sample_rows(pipeline, self.recipe)[:1]
        save_sheet(self.folder / "sheets" / f"distill-{step:06d}.png", rows)


def distill(recipe: Recipe, config: GSPNConfig | None = None) -> GSPNAdapter:
    """Train an adapter for the model in work/model.pt, or in start; returns it, averaged, in float32."""
    work = Distillation(recipe, config)
    train(work)
    return work.adapter


def train(work: Distillation) -> None:
    """Train a distillation's mixers pass by pass, and keep their averages.

    A pass goes on from its checkpoint where it began from what the passes before have made.

    Raises:
        GspnError: a checkpoint is of other mixers, of another teacher, or of shorter passes before it.
    """
    recipe = work.recipe
    rate = recipe.distill_loop.learning_rate
    passes = (
        ("align", work.align_step, recipe.align_share, rate),
        ("whole", work.whole_step, 1 - recipe.align_share - recipe.drawn_share, rate / 3),
        ("drawn", work.drawn_step, recipe.drawn_share, rate / 3),
    )
    for place, (name, step, share, rate) in enumerate(passes):
        if share < 1e-6:
            continue
        mixers = nn.ModuleList(work.adapter.mixers.values())
        settings = replace(
            recipe.distill_loop, minutes=recipe.distill_loop.minutes * share, learning_rate=rate
        )
        path = work.folder / f"{name}.pt"
        began = BeganFrom(path, digest_of(mixers, *work.modules.values()))
        loop = Loop({"mixers": mixers}, settings, path, beside={"began": began})
        work.reseed(place, loop.step)
        loop.run(step, work.log)
        work.load_averages(loop)
        work.measure(loop.step)
    work.adapter.trained = True


def main(arguments: list[str] | None = None) -> None:
    """Distil from the command line and write the adapter beside the exported model."""
    parser = argparse.ArgumentParser(prog="gspn_core.training.distill", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder in which the model was trained")
    parser.add_argument("--out", type=Path, default=Path("assets/world/gspn_adapter"))
    parser.add_argument("--minutes", type=float, default=Recipe.distill_loop.minutes)
    parser.add_argument(
        "--start",
        type=Path,
        help="folder of an earlier model whose mixers to start from; the teacher too where --work has none",
    )
    parser.add_argument("--batch", type=int, default=Recipe.distill_batch)
    parser.add_argument(
        "--align-share",
        type=float,
        default=Recipe.align_share,
        help="share of the minutes in which each mixer learns alone; 0 for mixers that did before",
    )
    parser.add_argument(
        "--drawn-share",
        type=float,
        help="share in which they learn on pictures that they draw "
        f"(default: {Recipe.drawn_share}, or what is left)",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="the one that --work was trained with")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    drawn_share = given.drawn_share
    if drawn_share is None:
        drawn_share = min(Recipe.drawn_share, max(0.0, 1 - given.align_share))
    try:
        recipe = Recipe(
            work=given.work,
            start=given.start,
            seed=given.seed,
            distill_loop=replace(Recipe.distill_loop, minutes=given.minutes),
            distill_batch=given.batch,
            align_share=given.align_share,
            drawn_share=drawn_share,
        )
        distill(recipe).to(torch.float16).save(given.out)
    except GspnError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
