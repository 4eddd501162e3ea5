"""Latents along a sampler's trajectory from noise to a picture: what mixers get as input in use."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch

from gspn_core.cascade.schedule import make_scheduler
from gspn_core.training.nets import LATENT_FACTOR, build_scheduler

# Samplers that add no noise and step from σ to σ.
Sampler = Literal["euler", "euler-karras", "dpm++2m", "dpm++2m-karras"]


class Moment(NamedTuple):
    """Several pictures, each at its own step: the UNet's inputs, the guidance and the weight of its loss.

    noisy (B, 4, h, w), timesteps (B,), captions, add_time_ids (B, 6); guidance and weights (B, 1, 1, 1).
    """

    noisy: torch.Tensor
    timesteps: torch.Tensor
    captions: list[str]
    time_ids: torch.Tensor
    guidance: torch.Tensor
    weights: torch.Tensor

    def pairs(self) -> tuple[torch.Tensor, torch.Tensor, list[str], torch.Tensor]:
        """Return noisy, timesteps, captions and time ids of guidance pairs.

        B unconditional rows, then B conditional ones.
        """
        captions = [*[""] * len(self.captions), *self.captions]
        return self.noisy.repeat(2, 1, 1, 1), self.timesteps.repeat(2), captions, self.time_ids.repeat(2, 1)

    def guided(self, predicted: torch.Tensor) -> torch.Tensor:
        """Return the guided prediction (B, 4, h, w) from that of the pairs (2·B, 4, h, w)."""
        unconditional, conditional = predicted.chunk(2)
        return unconditional + self.guidance * (conditional - unconditional)


class Trajectories:
    """Pictures being sampled, each at its own step; a finished one is replaced by a new one."""

    def __init__(
        self,
        size: int,
        next_caption: Callable[[], str],
        rng: np.random.Generator,
        *,
        base_px: int,
        scheduler: Sampler,
        steps: int,
        guidance: tuple[float, float],
        staggered: bool = True,
    ) -> None:
        """Start `size` pictures.

        Args:
            next_caption: returns a new picture's caption.
            guidance: the bounds of its guidance scale.
            staggered: end the first pictures early, each at another step, so that there are always pictures
                at all steps.
        """
        self.next_caption, self.rng, self.base_px, self.scheduler = next_caption, rng, base_px, scheduler
        self.steps, self.guidance = steps, guidance
        self._weights = step_weights(scheduler, steps)
        self.pictures = [self._begin() for _ in range(size)]
        early = [max(1, (place + 1) * steps // size) for place in range(size)]
        self._ends = early if staggered else [steps] * size

    def now(self) -> Moment:
        """Return the UNet's inputs at the current step of every picture."""
        noisy = [p.scheduler.scale_model_input(p.latents, p.timestep) for p in self.pictures]
        side = self.base_px
        ids = torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32)

        def column(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32)[:, None, None, None]

        return Moment(
            noisy=torch.cat(noisy),
            timesteps=torch.stack([p.timestep for p in self.pictures]),
            captions=[p.caption for p in self.pictures],
            time_ids=ids.repeat(len(self.pictures), 1),
            guidance=column([p.guidance for p in self.pictures]),
            weights=column([self._weights[p.step] for p in self.pictures]),
        )

    def advance(self, guided: torch.Tensor) -> None:
        """Advance every picture by one step with the guided prediction (B, 4, h, w)."""
        for place, picture in enumerate(self.pictures):
            picture.advance(guided[place : place + 1])
            if picture.step == self._ends[place]:
                self.pictures[place], self._ends[place] = self._begin(), self.steps

    def _begin(self) -> "_Picture":
        side = self.base_px // LATENT_FACTOR
        latents = torch.from_numpy(self.rng.standard_normal((1, 4, side, side), dtype=np.float32))
        caption = self.next_caption()
        guidance = self.rng.uniform(*self.guidance)
        return _Picture(self.scheduler, self.steps, latents, caption, guidance)


class _Picture:
    """One picture being sampled, with its own scheduler, since some schedulers remember earlier steps."""

    def __init__(
        self, scheduler: Sampler, steps: int, noise: torch.Tensor, caption: str, guidance: float
    ) -> None:
        self.scheduler = make_scheduler(scheduler, build_scheduler().config)
        self.scheduler.set_timesteps(steps)
        self.latents = noise * self.scheduler.init_noise_sigma
        self.caption, self.guidance, self.step = caption, guidance, 0

    @property
    def timestep(self) -> torch.Tensor:
        return self.scheduler.timesteps[self.step]

    def advance(self, guided: torch.Tensor) -> None:
        self.latents = self.scheduler.step(guided, self.timestep, self.latents, return_dict=False)[0]
        self.step += 1


def step_weights(scheduler: Sampler, steps: int) -> list[float]:
    """Return the first-order weight of a prediction error at each step, 1 on average.

    A step from σ to σ' adds (σ - σ') times the error to latents of scale √(1 + σ'²); the weight is the square
    of what that adds to the final latents, of scale 1.
    """
    made = make_scheduler(scheduler, build_scheduler().config)
    made.set_timesteps(steps)
    before, after = made.sigmas[:-1].double(), made.sigmas[1:].double()
    weights = (before - after).square() / (1 + after.square())
    return (weights / weights.mean()).tolist()
