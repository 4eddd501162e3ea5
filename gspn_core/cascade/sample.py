"""One stage: the sampling loop at one size, from noise or from a picture.

x  = add_noise(z_ref, ε, t₀)                  t₀ = T·strength; pure noise without z_ref
for every timestep t, the controls being asked at each arrow:
x  → before
p  = guided(backbone(x, t, extra)) → predicted
x̂0 = clean(x, p) → denoised
x  = scheduler.step(p, t, x) → after
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers import SchedulerMixin
from torch import Tensor

from gspn_core.backbones.backbone import Backbone, NoisePath, Rows, joined
from gspn_core.backbones.model import Model
from gspn_core.backbones.refiner import handover_level
from gspn_core.backbones.registry import make_backbone
from gspn_core.cascade.predictor import Predictor, in_tiles
from gspn_core.cascade.schedule import make_scheduler, set_last_timesteps, stage_schedule, step_options
from gspn_core.cascade.weights import evaluations, step_weights
from gspn_core.controls.control import Control, attached
from gspn_core.kinds.tiles import Crop
from gspn_core.planning.types import StagePlan


@dataclass(frozen=True, kw_only=True)
class Step:
    """A finished step: its number from 1 and the estimate x̂0, (n, C, h, w), for the preview."""

    number: int
    denoised: Tensor


def sample(
    x: Tensor,
    scheduler: SchedulerMixin,
    timesteps: Tensor,
    path: NoisePath,
    predictor_at: Callable[[int, float], Predictor],
    controls: Sequence[Control] = (),
    done: int = 0,
    **options: Any,
) -> Iterator[Step]:
    """Yield a Step per timestep and return the latents, float32 (1, C, h, w).

    Args:
        x: noised latents at the first timestep, (1, C, h, w), in the scheduler's own scale.
        scheduler: steps once per timestep.
        timesteps: descending, (steps,).
        path: the scheduler's noise path.
        predictor_at: what predicts at a step, counted from 0, and its noise level in [0, 1].
        controls: asked in this order.
        done: steps of the stage before these.
        options: keyword arguments of scheduler.step.
    """
    steered = any(control.steers for control in controls)
    for i, t in enumerate(timesteps):
        for control in controls:
            x = control.before(x, i)
        predictor = predictor_at(i, path.level(float(t)))
        predict = partial(predictor, path, t, joined(control.extra(x, i) for control in controls))
        with attached(controls, predictor.backbone, i):
            noise_pred = predict(x)
            for control in controls:
                noise_pred = control.predicted(noise_pred, x, i, predict)
        model_input = path.scaled(x, t)
        estimate = path.clean(model_input, noise_pred, float(t))
        for control in controls:
            estimate = control.denoised(estimate, i)
        if steered:
            noise_pred = path.prediction(model_input, estimate, float(t))
        x = scheduler.step(noise_pred, t, x, return_dict=False, **options)[0]
        for control in controls:
            x = control.after(x, i)
        yield Step(number=done + i + 1, denoised=estimate)
    return x


class StageSampler:
    """The sampling of one stage; `weights` holds before it runs what each step will mix."""

    def __init__(self, model: Model, stage: StagePlan, rows: Rows, refiner_rows: Rows | None = None) -> None:
        """Prepare a stage.

        Args:
            model: a loaded model.
            stage: its plan.
            rows: the text as the model's own backbone reads it.
            refiner_rows: the text as the refiner reads it, where it takes part.
        """
        self.stage, self.settings, self.device = stage, stage.settings, model.device
        self.rows, self.refiner_rows, self._pictures = rows, refiner_rows, 1
        self._crops: tuple[Crop, ...] = ()
        self._z_ref: Tensor | None = None
        self.backbone, self.config = make_backbone(model), model.pipeline.scheduler.config
        self.scheduler, self.timesteps = stage_schedule(stage, self.config, self.device)
        self.path = self.backbone.path(self.scheduler)
        self.weights = step_weights(stage, self.path, self.timesteps)
        self.refiner, self._handover_level = None, 0.0
        if refiner_rows is not None:
            self.refiner = make_backbone(model, "refiner")
            self._handover_level = handover_level(self.settings, self.path)

    @property
    def model_calls(self) -> float:
        """Return how many times the guidance pair goes through the UNet; half of it counts half."""
        return evaluations(self.stage, self.weights)

    def sample(
        self,
        z_ref: Tensor | None,
        controls: Sequence[Control] = (),
        more_seeds: Sequence[int] = (),
        crops: Sequence[Crop] = (),
    ) -> Iterator[Step]:
        """Yield a Step per timestep and return the latents, float32 (1 + len(more_seeds), C, h, w).

        Args:
            z_ref: the encoded picture that the stage starts from, at its size; None to start from noise.
            controls: the stage's, see `controls.registry.stage_controls`.
            more_seeds: seeds of pictures that are drawn at once with the stage's own, which has no controls.
            crops: the tiles that are drawn, () for all of it.
        """
        self._crops, self._z_ref = tuple(crops), z_ref
        generator = stage_generator(self.settings.seed, self.stage.index)
        noise, self._pictures = self._start_noise(generator), 1 + len(more_seeds)
        if more_seeds:
            # Each picture has the noise that its seed gives alone, here and in every step.
            generator = [generator, *(stage_generator(seed, self.stage.index) for seed in more_seeds)]
            noise = torch.cat([noise, *map(self._start_noise, generator[1:])])
        if z_ref is None:
            x = noise * self.scheduler.init_noise_sigma
        else:
            x = self.path.noised(z_ref, noise, self.timesteps[:1])
        options = step_options(self.scheduler, generator)
        x = yield from sample(
            x, self.scheduler, self.timesteps, self.path, self._predictor_at, controls, **options
        )
        if self.stage.refiner_steps:
            x = yield from self._refined(x, generator)
        return x

    def _refined(self, x: Tensor, generator: torch.Generator) -> Iterator[Step]:
        """Put noise on finished latents (1, C, h, w) and take the last steps again with the refiner."""
        done, steps = len(self.timesteps), self.stage.refiner_steps
        scheduler = make_scheduler(self.settings.scheduler, self.config)
        timesteps = set_last_timesteps(scheduler, self.stage.num_inference_steps, steps, x.device)
        path = self.refiner.path(scheduler)
        x = path.noised(x, self._noise(generator), timesteps[:1])
        options = step_options(scheduler, generator)
        return sample(
            x, scheduler, timesteps, path, lambda i, _: self._refining(done + i), done=done, **options
        )

    def _predictor_at(self, i: int, level: float) -> Predictor:
        if level < self._handover_level:
            return self._refining(i)
        return self._predictor(self.backbone, self.rows, i)

    def _refining(self, i: int) -> Predictor:
        return self._predictor(self.refiner, self.refiner_rows, i)

    def _predictor(self, backbone: Backbone, rows: Rows, i: int) -> Predictor:
        """Return what predicts at a step, counted from 0; a guidance scale of 1 turns guidance off."""
        predictor = Predictor(
            backbone=backbone,
            rows=rows if self._pictures == 1 else rows.repeated(self._pictures),
            guidance_scale=self.settings.guidance_scale if i < self.stage.guided_steps else 1.0,
            serial=self.stage.choices.serial_guidance,
        )
        return in_tiles(predictor, self.stage, self._crops, self._z_ref) if self._crops else predictor

    def _start_noise(self, generator: torch.Generator) -> Tensor:
        """Return the noise that the stage starts from, moved towards that of the variation seed."""
        noise, own = self._noise(generator), self.settings
        if not own.variation_strength or "variation_seed" not in self.stage.kind.reads:
            return noise
        other = self._noise(stage_generator(own.variation_seed, self.stage.index))
        return slerp(noise, other, own.variation_strength)

    def _noise(self, generator: torch.Generator) -> Tensor:
        """Return standard noise, float32 (1, C, h, w)."""
        codec, size = self.backbone.codec(), self.stage.size
        shape = (1, codec.channels, size.height // codec.factor, size.width // codec.factor)
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(self.device)


def slerp(noise: Tensor, other: Tensor, share: float) -> Tensor:
    """Return spherical linear interpolation (Shoemake, 1985): unit variance between two noises is kept.

    (sin((1 − s)·ω)·a + sin(s·ω)·b) / sin ω, with ω the angle between the whole noises a and b.

    Args:
        noise: a, any shape.
        other: b, of the same shape.
        share: s, in [0, 1].
    """
    a, b = noise.double().flatten(), other.double().flatten()
    omega = math.acos(max(-1.0, min(1.0, float(a @ b / (a.norm() * b.norm())))))
    if math.sin(omega) < 1e-6:
        return noise
    own, moved = (math.sin(part * omega) / math.sin(omega) for part in (1 - share, share))
    return own * noise + moved * other


def stage_generator(seed: int, stage: int) -> torch.Generator:
    """Return a CPU generator for (seed, stage): the same noise on every device, different in every stage.

    torch's CPU generator reads 32 bits of a seed, so the two are hashed into that many.
    """
    state = np.random.SeedSequence((seed, stage)).generate_state(1)
    return torch.Generator("cpu").manual_seed(int(state[0]))
