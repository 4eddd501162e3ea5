"""Train the few-step student on towards true renders: `python -m gspn_core.training.refine --work DIR`.

Its teacher's guided pictures are further from renders than two sets of renders are from each other. Here the
student's jumps keep their regression towards the teacher's trajectories, and a discriminator compares what
the last jump draws with true renders' latents (2403.12015), so that texture is that of renders. The jumps
before, which lay out the picture, only regress. Needs `few_step train` and `train data` in the same work
folder.
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from gspn_core.errors import GspnError
from gspn_core.training.checkpoint import InitialWeights, digest_of
from gspn_core.training.data import RenderCache, caption_of, view_of
from gspn_core.training.denoiser import LatentSet, encode_cache, predict_noise
from gspn_core.training.few_step import MEASURED, MIXER_SHARE, Student
from gspn_core.training.latent_discriminator import LatentDiscriminator
from gspn_core.training.loop import Loop
from gspn_core.training.recipe import Recipe
from gspn_core.training.recordings import GRID, JUMP, Recording, read

# Size of the discriminator's gradient at the latents, of the regression's.
ADVERSARIAL_SHARE = 1.0
# Share of the steps that train the last jump.
LAST_SHARE = 0.65
# Share of the steps in which a jump begins where the student's own one before arrived.
CHAINED_SHARE = 0.5
# Grid points at which finished latents are noised again to be judged.
JUDGED = (9, 11, 13, 14, 15)


class _Renders(NamedTuple):
    """Latents (B, 4, h, w) of renders, and a caption of each."""

    latents: torch.Tensor
    captions: list[str]


class Refinement:
    """A trained student, true renders' latents with their captions, and the discriminator."""

    def __init__(self, student: Student, minutes: float) -> None:
        """Read the student's averaged weights and encode the renders.

        Raises:
            GspnError: the student or the renders are missing.
        """
        recipe, self.student = student.recipe, student
        path = student.folder / "student.pt"
        if not path.exists():
            raise GspnError(
                f"{path} is missing; train it with `python -m gspn_core.training.few_step train`."
            )
        self.cache = RenderCache(recipe.data)
        vae = AutoencoderKL.from_pretrained(student.source / "vae").float()
        self.renders = _whole_views(encode_cache(recipe, vae, self.cache), self.cache)
        teacher = copy.deepcopy(student.modules["unet"])
        frozen = {**student.modules, "unet": teacher}
        averages = torch.load(path, weights_only=True)["averages"]
        unet, mixers = student.modules["unet"], nn.ModuleList(student.adapter.mixers.values())
        unet.load_state_dict(averages["unet"])
        mixers.load_state_dict(averages["mixers"])
        began = InitialWeights(
            student.folder / "refined.pt", digest_of(unet, *student.adapter.mixers.values())
        )
        unet.requires_grad_(True)
        mixers.requires_grad_(True)
        side = float(recipe.nets.base_px)
        ids = torch.tensor([side, side, 0, 0, side, side])
        self.discriminator = LatentDiscriminator(
            teacher,
            lambda x, timesteps, texts: predict_noise(
                frozen, student.tokenizer, x, timesteps, texts, ids.repeat(len(x), 1)
            ),
        )
        config = replace(
            recipe.few_step_loop, minutes=minutes, learning_rate=8e-5, warmup_steps=20, evaluate_seconds=600.0
        )
        self.loop = Loop(
            {"unet": unet, "mixers": mixers},
            config,
            student.folder / "refined.pt",
            stateful={"began": began, "discriminator": self.discriminator},
        )

    def run(self, batch: int) -> None:
        """Train for the loop's minutes; raise GspnError where no recording can be trained on."""
        recordings = read(self.student.folder / "recordings")
        square = self.renders.latents.shape[-2:]
        shown = [each for each in recordings[MEASURED:] if each.states.shape[-2:] == square]
        if not shown:
            raise GspnError(
                f"{self.student.folder / 'recordings'} has none of squares after the first {MEASURED}; "
                "make more with `python -m gspn_core.training.few_step record`."
            )
        self.loop.run(
            self._step(shown, batch),
            self.student.log,
            lambda: self.student.measure(self.loop, recordings[:MEASURED]),
        )

    def _step(
        self, shown: list[Recording], batch: int
    ) -> Callable[[int], tuple[torch.Tensor, dict[str, float]]]:
        student, levels = self.student, self.student.levels

        def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
            rng = np.random.default_rng((student.recipe.seed, 9, number))
            recording = shown[int(rng.integers(len(shown)))]
            places = torch.from_numpy(rng.integers(len(recording.captions), size=batch))
            captions, ids = [recording.captions[place] for place in places.tolist()], recording.time_ids
            last = GRID // JUMP - 1
            jump = last if rng.random() < LAST_SHARE else int(rng.integers(last))
            mixed, chained = bool(rng.random() < MIXER_SHARE), rng.random() < CHAINED_SHARE
            states = recording.states[places].float()
            start, end = jump * JUMP, (jump + 1) * JUMP
            x = states[:, start]
            if chained and jump:
                with torch.no_grad():
                    x = student.jump(states[:, start - JUMP], start - JUMP, captions, ids, mixed=mixed)
            arrived = student.jump(x, start, captions, ids, mixed=mixed)
            apart = (arrived - states[:, end]).square().mean()
            if end < GRID:
                return apart, {"early_apart": float(apart.detach())}
            judged = int(rng.choice(JUDGED))
            drawn, real = self._noised(arrived, judged, rng), self._real(batch, rng)
            timesteps = levels.timesteps[judged].repeat(batch)
            features = self.discriminator.features(drawn, timesteps, captions)
            adversarial = self.discriminator.generator_loss(features)
            with torch.no_grad():
                of_real = self.discriminator.features(
                    self._noised(real.latents, judged, rng), timesteps, real.captions
                )
            loss = _balanced(arrived, apart, adversarial)
            gap = self.discriminator.discriminator_step(of_real, features)
            return loss, {"apart": float(apart.detach()), "gap": gap}

        return step

    def _noised(self, x: torch.Tensor, place: int, rng: np.random.Generator) -> torch.Tensor:
        """Return finished latents (B, 4, h, w) noised to a grid point."""
        noise = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32))
        return self.student.levels.alphas[place] * x + self.student.levels.sigmas[place] * noise

    def _real(self, batch: int, rng: np.random.Generator) -> _Renders:
        """Return latents of renders and captions of them."""
        places = rng.integers(len(self.renders.numbers), size=batch)
        texts = [
            caption_of(int(number), seed=self.cache.seed, rng=rng) for number in self.renders.numbers[places]
        ]
        return _Renders(self.renders.latents[torch.from_numpy(places)], texts)


def _balanced(arrived: torch.Tensor, apart: torch.Tensor, adversarial: torch.Tensor) -> torch.Tensor:
    """Return a loss whose gradient at the latents is the regression's and, as large, the generator's."""
    (of_apart,) = torch.autograd.grad(apart, arrived, retain_graph=True)
    (of_adversarial,) = torch.autograd.grad(adversarial, arrived, retain_graph=True)
    weight = ADVERSARIAL_SHARE * of_apart.norm() / (of_adversarial.norm() + 1e-12)
    return (arrived * (of_apart + weight * of_adversarial)).sum()


def _whole_views(data: LatentSet, cache: RenderCache) -> LatentSet:
    """Return the latents of renders that are whole views, held-out ones left out."""
    trained = set(cache.train_numbers().tolist())
    places = [
        place
        for place, number in enumerate(data.numbers.tolist())
        if number in trained
        and view_of(number, seed=cache.seed, base_px=cache.base_px).view_px == cache.base_px
    ]
    if not places:
        raise GspnError(f"{cache.folder} holds no whole views to train on; draw more with `train data`.")
    return LatentSet(latents=data.latents[torch.tensor(places)], numbers=data.numbers[places])


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gspn_core.training.refine", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the student and the renders")
    parser.add_argument("--start", type=Path, default=Path("assets/world"), help="folder of the teacher")
    parser.add_argument("--out", type=Path, help="folder to export the student to afterwards")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--batch", type=int, default=12, help="trajectories of a step, and as many renders")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    recipe = Recipe(work=given.work, start=given.start, seed=given.seed, pictures=0)
    try:
        student = Student(recipe)
        refinement = Refinement(student, given.minutes)
        refinement.run(given.batch)
        if given.out is not None:
            student.export(refinement.loop, given.out)
    except GspnError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
