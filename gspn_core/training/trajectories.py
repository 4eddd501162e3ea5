"""Latents on their way from noise to a picture, as a sampler takes them: where mixers work once they ship.

Knows the steps and what each adds to the picture; does not know who predicts the noise.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch

from gspn_core.cascade.schedule import make_scheduler
from gspn_core.training import nets as _nets

# What adds no noise of its own and steps from σ to σ.
Sampler = Literal["euler", "euler-karras", "dpm++2m", "dpm++2m-karras"]


class Moment(NamedTuple):
    """Several pictures, each at its own step: what the UNet is asked, and what its answer is for.

    noisy (B, 4, h, w), timesteps (B,), captions, add_time_ids (B, 6); guidance and weights (B, 1, 1, 1).
    """

    noisy: torch.Tensor
    timesteps: torch.Tensor
    told: list[str]
    time_ids: torch.Tensor
    guidance: torch.Tensor
    weights: torch.Tensor

    def pairs(self) -> tuple[torch.Tensor, torch.Tensor, list[str], torch.Tensor]:
        """Return noisy, timesteps, captions and time ids of guidance pairs: B untold rows, then B told."""
        told = [*[""] * len(self.told), *self.told]
        return self.noisy.repeat(2, 1, 1, 1), self.timesteps.repeat(2), told, self.time_ids.repeat(2, 1)

    def guided(self, predicted: torch.Tensor) -> torch.Tensor:
        """Return the guided prediction (B, 4, h, w) of the pairs' (2·B, 4, h, w)."""
        untold, told = predicted.chunk(2)
        return untold + self.guidance * (told - untold)


class Trajectories:
    """Pictures being drawn, each at its own step; one that is finished makes room for a new one."""

    def __init__(
        self,
        size: int,
        tell: Callable[[], str],
        rng: np.random.Generator,
        *,
        base_px: int,
        scheduler: Sampler,
        steps: int,
        guidance: tuple[float, float],
        staggered: bool = True,
    ) -> None:
        """Begin `size` pictures.

        tell: returns a new picture's caption. guidance: the bounds of its guidance scale. staggered: the
        first ones are given up early, each at another step: then all parts of the way are seen at any time.
        """
        self.tell, self.rng, self.base_px, self.scheduler = tell, rng, base_px, scheduler
        self.steps, self.guidance = steps, guidance
        self._weights = step_weights(scheduler, steps)
        self.pictures = [self._begin() for _ in range(size)]
        early = [max(1, (place + 1) * steps // size) for place in range(size)]
        self._ends = early if staggered else [steps] * size

    def now(self) -> Moment:
        """Return what is asked at the step that every picture is at."""
        noisy = [p.scheduler.scale_model_input(p.latents, p.timestep) for p in self.pictures]
        side = self.base_px
        ids = torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32)

        def column(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32)[:, None, None, None]

        return Moment(
            noisy=torch.cat(noisy),
            timesteps=torch.stack([p.timestep for p in self.pictures]),
            told=[p.told for p in self.pictures],
            time_ids=ids.repeat(len(self.pictures), 1),
            guidance=column([p.guidance for p in self.pictures]),
            weights=column([self._weights[p.step] for p in self.pictures]),
        )

    def advance(self, guided: torch.Tensor) -> None:
        """Take every picture one step on by the guided prediction (B, 4, h, w)."""
        for place, picture in enumerate(self.pictures):
            picture.advance(guided[place : place + 1])
            if picture.step == self._ends[place]:
                self.pictures[place], self._ends[place] = self._begin(), self.steps

    def _begin(self) -> "_Picture":
        side = self.base_px // _nets.LATENT_FACTOR
        latents = torch.from_numpy(self.rng.standard_normal((1, 4, side, side), dtype=np.float32))
        return _Picture(self.scheduler, self.steps, latents, self.tell(), self.rng.uniform(*self.guidance))


class _Picture:
    """One picture being drawn, with a scheduler of its own: some remember the steps before."""

    def __init__(
        self, scheduler: Sampler, steps: int, noise: torch.Tensor, told: str, guidance: float
    ) -> None:
        self.scheduler = make_scheduler(scheduler, _nets.build_scheduler().config)
        self.scheduler.set_timesteps(steps)
        self.latents = noise * self.scheduler.init_noise_sigma
        self.told, self.guidance, self.step = told, guidance, 0

    @property
    def timestep(self) -> torch.Tensor:
        return self.scheduler.timesteps[self.step]

    def advance(self, guided: torch.Tensor) -> None:
        self.latents = self.scheduler.step(guided, self.timestep, self.latents, return_dict=False)[0]
        self.step += 1


def step_weights(scheduler: Sampler, steps: int) -> list[float]:
    """Return how much an error of the prediction at each step weighs, 1 on average; to first order.

    A step from σ to σ' adds (σ - σ') times the error to latents whose size then is √(1 + σ'²), and the
    picture is the latents at the end, of size 1: the square of what it adds there is the weight.
    """
    made = make_scheduler(scheduler, _nets.build_scheduler().config)
    made.set_timesteps(steps)
    before, after = made.sigmas[:-1].double(), made.sigmas[1:].double()
    weights = (before - after).square() / (1 + after.square())
    return (weights / weights.mean()).tolist()
