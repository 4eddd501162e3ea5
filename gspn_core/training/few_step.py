"""Distil the embedded model into a few-step student: `python -m gspn_core.training.few_step PART --work DIR`.

`record` writes guided trajectories of the teacher, `train` teaches a copy of the UNet and its GSPN mixers to
go a quarter of the schedule in one Euler step without guidance, `export` writes the student as a pipeline.

At grid point i of a trajectory it learns the one prediction whose Euler step leads to j = i + JUMP:

    ε̄ = (x_j/α_j - x_i/α_i) / (σ_j/α_j - σ_i/α_i)

so that four calls of batch 1 take the place of the teacher's guidance pairs (knowledge distillation of a
sampler, Luhman & Luhman, 2101.02388, by segments; guidance distilled in as in Meng et al., 2210.03142).
"""

import argparse
import copy
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.errors import GspnError
from gspn_core.training.checkpoint import InitialWeights, digest_of
from gspn_core.training.denoiser import build_model, pipeline_of, predict_noise
from gspn_core.training.initial_weights import start_mixers
from gspn_core.training.log import Log, save_sheet
from gspn_core.training.loop import Loop
from gspn_core.training.recipe import Recipe
from gspn_core.training.recordings import GRID, JUMP, Levels, Recording, grid_levels, read, record
from gspn_core.training.teacher import read_teacher
from gspn_core.training.trajectories import Moment
from gspn_core.training.vae import to_pictures

# The first recordings are held out.
MEASURED = 2
# Share of the training pairs that begin where a run of four steps calls the student.
AT_JUMPS = 0.6
# Share of the steps that train the UNet with its mixers; the others train it with attention.
MIXER_SHARE = 0.65


class Student:
    """A UNet and mixers that begin as the teacher's, and the recordings that they learn from."""

    def __init__(self, recipe: Recipe) -> None:
        """Read the teacher and its mixers.

        Raises:
            GspnError: the teacher or its mixers are missing.
        """
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder = recipe, recipe.work / "few_step"
        self.tokenizer, self.modules = build_model(recipe)
        self.source = read_teacher(recipe, self.tokenizer, self.modules)
        for module in self.modules.values():
            module.requires_grad_(False)
        self.adapter = GSPNAdapter.construct_for(self.modules["unet"], None)
        mixers = (recipe.start or recipe.work) / "gspn_adapter"
        if not start_mixers(self.adapter, mixers):
            raise GspnError(f"{mixers} holds no mixers of the default form; name a model with --start.")
        self.levels = grid_levels()
        self.log = Log(self.folder / "few-step.jsonl")

    def record(self, minutes: float, batch: int, *, compiled: bool) -> None:
        """Record trajectories of the teacher with attention for this many minutes."""
        unet = copy.deepcopy(self.modules["unet"])
        modules = {**self.modules, "unet": torch.compile(unet) if compiled else unet}
        plain, ends = {**self.modules, "unet": unet}, time.monotonic() + 60 * minutes
        side = self.recipe.nets.latent_px

        def predict(moment: Moment) -> torch.Tensor:
            noisy, timesteps, captions, time_ids = moment.pairs()
            # Compiling takes minutes for each shape, so only the most frequent one is.
            square = noisy.shape[2:] == (side, side) and len(noisy) == 2 * batch
            return predict_noise(
                modules if square else plain, self.tokenizer, noisy, timesteps, captions, time_ids
            )

        def wanted(count: int) -> bool:
            self.log(recordings=count, minutes_left=(ends - time.monotonic()) / 60)
            return time.monotonic() < ends

        record(
            predict, self.folder / "recordings", base_px=self.recipe.nets.base_px, batch=batch,
            seed=self.recipe.seed, wanted=wanted,
        )  # fmt: skip

    def train(self, batch: int) -> Loop:
        """Train the student; return the loop with its averages.

        Raises:
            GspnError: there are no recordings, or the checkpoint belongs to another teacher.
        """
        unet, recordings = self.modules["unet"], read(self.folder / "recordings")
        kept, shown = recordings[:MEASURED], recordings[MEASURED:] or recordings
        path = self.folder / "student.pt"
        began = InitialWeights(path, digest_of(unet, *self.adapter.mixers.values()))
        unet.requires_grad_(True)
        mixers = nn.ModuleList(self.adapter.mixers.values()).requires_grad_(True)
        loop = Loop(
            {"unet": unet, "mixers": mixers}, self.recipe.few_step_loop, path, stateful={"began": began}
        )
        shares = np.array([recording.states.numel() for recording in shown], dtype=np.float64)

        def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
            rng = np.random.default_rng((self.recipe.seed, 8, number))
            recording = shown[int(rng.choice(len(shown), p=shares / shares.sum()))]
            mixed = bool(rng.random() < MIXER_SHARE)
            loss = self.loss(recording, self._starts(len(recording.captions), batch, rng), mixed=mixed)
            return loss, {}

        loop.run(step, self.log, lambda: self.measure(loop, kept))
        return loop

    def _starts(
        self, pictures: int, batch: int, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the places of pictures in a recording and the grid points to begin at, both (B,)."""
        starts = np.where(
            rng.random(batch) < AT_JUMPS,
            JUMP * rng.integers(GRID // JUMP, size=batch),
            rng.integers(GRID, size=batch),
        )
        return torch.from_numpy(rng.integers(pictures, size=batch)), torch.from_numpy(starts)

    def loss(
        self, recording: Recording, picked: tuple[torch.Tensor, torch.Tensor], *, mixed: bool
    ) -> torch.Tensor:
        """Return the weighted squared error of ε̄ at the picked pictures and grid points."""
        places, starts = picked
        ends = (starts + JUMP).clamp(max=GRID)
        states, ratio, alphas = recording.states.float(), self.levels.ratio, self.levels.alphas
        begin, end = states[places, starts], states[places, ends]
        target = (end / _each(alphas, ends) - begin / _each(alphas, starts)) / _each(
            ratio[ends] - ratio[starts]
        )
        captions = [recording.captions[place] for place in places.tolist()]
        predicted = self.predict(begin, starts, captions, recording.time_ids, mixed=mixed)
        squares = (predicted - target).square().mean(dim=(1, 2, 3))
        return (squares * jump_weights(self.levels)[starts]).mean()

    def predict(
        self,
        x: torch.Tensor,
        starts: torch.Tensor,
        captions: list[str],
        time_ids: torch.Tensor,
        *,
        mixed: bool,
        modules: Mapping[str, nn.Module] | None = None,
    ) -> torch.Tensor:
        """Return the student's prediction for latents (B, 4, h, w) of unit variance at grid points (B,)."""
        arguments = (
            modules or self.modules, self.tokenizer, x, self.levels.timesteps[starts], captions,
            time_ids.repeat(len(x), 1),
        )  # fmt: skip
        if not mixed:
            return predict_noise(*arguments)
        with self.adapter.injected():
            return predict_noise(*arguments)

    @torch.no_grad()
    def draw(self, recording: Recording, *, mixed: bool) -> torch.Tensor:
        """Return pictures' latents (B, 4, h, w) from the noise of a recording in GRID / JUMP calls."""
        x = recording.states[:, 0].float()
        for start in range(0, GRID, JUMP):
            x = self.jump(x, start, list(recording.captions), recording.time_ids, mixed=mixed)
        return x

    def jump(
        self, x: torch.Tensor, start: int, captions: list[str], time_ids: torch.Tensor, *, mixed: bool
    ) -> torch.Tensor:
        """Return where an Euler step of JUMP grid points from `start` leads latents (B, 4, h, w)."""
        ratio, alphas, end = self.levels.ratio, self.levels.alphas, start + JUMP
        predicted = self.predict(x, torch.full((len(x),), start), captions, time_ids, mixed=mixed)
        return alphas[end] * (x / alphas[start] + (ratio[end] - ratio[start]) * predicted)

    @torch.no_grad()
    def measure(self, loop: Loop, kept: list[Recording]) -> None:
        """Log the distance of the averaged student's latents from the teacher's, and write a sheet."""
        weights = {name: copy.deepcopy(module.state_dict()) for name, module in loop.modules.items()}
        for name, module in loop.modules.items():
            module.load_state_dict(loop.averages[name].state_dict())
        try:
            apart, first = {}, kept[0]
            for name, mixed in (("gspn", True), ("attention", False)):
                errors = [
                    (self.draw(each, mixed=mixed) - each.states[:, -1].float()).square().mean()
                    for each in kept
                ]
                apart[f"apart_{name}"] = float(torch.stack(errors).mean())
            self.log(step=loop.step, **apart)
            vae = AutoencoderKL.from_pretrained(self.source / "vae").float()
            rows = [first.states[:8, -1].float()]
            rows += [self.draw(first, mixed=mixed)[:8] for mixed in (True, False)]
            pictures = [to_pictures(vae.decode(row).sample) for row in rows]
            save_sheet(self.folder / "sheets" / f"few-step-{loop.step:06d}.png", pictures)
        finally:
            for name, module in loop.modules.items():
                module.load_state_dict(weights[name])

    def export(self, loop: Loop, out: Path) -> None:
        """Write the averaged student as an SDXL pipeline with its mixers, as the teacher is written."""
        for name, module in loop.modules.items():
            module.load_state_dict(loop.averages[name].state_dict())
        unet = self.modules["unet"]
        unet.set_default_attn_processor()
        unet.to(torch.float16, memory_format=torch.contiguous_format)
        vae = AutoencoderKL.from_pretrained(self.source / "vae", torch_dtype=torch.float16)
        pipeline_of(self.modules, vae, self.tokenizer).save_pretrained(out, safe_serialization=True)
        self.adapter.trained = True
        self.adapter.to(torch.float16).save(out / "gspn_adapter")


def jump_weights(levels: Levels) -> torch.Tensor:
    """Return the weight of a prediction's squared error at each grid point, (GRID,), 1 on average.

    An Euler step from σ to σ' (over α) adds (σ - σ') times the error to latents of scale √(1 + σ'²). The
    weight is the size of that, not its square, so that the last jump, which draws the texture, counts.
    """
    starts = torch.arange(GRID)
    before, after = levels.ratio[starts], levels.ratio[(starts + JUMP).clamp(max=GRID)]
    weights = (before - after) / (1 + after.square()).sqrt()
    return weights / weights.mean()


def _each(values: torch.Tensor, places: torch.Tensor | None = None) -> torch.Tensor:
    """Return the values (at places), (B, 1, 1, 1)."""
    return (values if places is None else values[places])[:, None, None, None]


def main(arguments: list[str] | None = None) -> None:
    """Run a part from the command line."""
    root = argparse.ArgumentParser(
        prog="python -m gspn_core.training.few_step", description=__doc__.splitlines()[0]
    )
    root.add_argument("part", choices=("record", "train", "export"))
    root.add_argument("--work", type=Path, required=True, help="folder of recordings and checkpoints")
    root.add_argument("--start", type=Path, default=Path("assets/world"), help="folder of the teacher")
    root.add_argument("--out", type=Path, default=Path("assets/world-4-steps"), help="where export writes")
    root.add_argument("--minutes", type=float, help="of recording (default: 20) or training")
    root.add_argument("--batch", type=int, help="trajectories of a recording (16) or pairs of a step (32)")
    root.add_argument("--compile", action="store_true", help="compile the recorded teacher; needs g++")
    root.add_argument("--threads", type=int, default=2)
    root.add_argument("--seed", type=int, default=0)
    given = root.parse_args(arguments)
    torch.set_num_threads(given.threads)
    loop = Recipe.few_step_loop
    minutes = 0.0 if given.part == "export" else given.minutes or loop.minutes
    recipe = Recipe(
        work=given.work,
        start=given.start,
        seed=given.seed,
        few_step_loop=replace(loop, minutes=minutes),
    )
    try:
        student = Student(recipe)
        if given.part == "record":
            student.record(given.minutes or 20, given.batch or 16, compiled=given.compile)
            return
        trained = student.train(given.batch or 32)
        if given.part == "export":
            student.export(trained, given.out)
    except GspnError as error:
        root.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
