"""One stage: the sampling loop at one size, from noise (base), from the picture of the stage before, or from
the picture that the run starts from.

x  = (1 - c1)·x + c1·add_noise(z_ref, ε, t)            skip residual
p  = guided(UNet(x, t))
p  = (1 - c2)·p + c2·guided(dilated UNet(blur(x), t))    where c2 is large enough
x  = scheduler.step(p, t, x)                             once per timestep

A first stage mixes nothing: what the model draws again of a starting picture, it is free to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import SchedulerMixin

from gspn_core.cascade.conditioning import Conditioning
from gspn_core.cascade.guidance import (
    dilated_convolutions,
    gaussian_blur,
    guided_noise_pred,
    match_statistics,
)
from gspn_core.cascade.model import Model
from gspn_core.cascade.schedule import (
    cosine_weights,
    denoised,
    make_scheduler,
    set_last_timesteps,
    step_options,
)
from gspn_core.events import StepWeights
from gspn_core.plan import StagePlan, pair_calls


@dataclass(frozen=True, kw_only=True)
class Step:
    """A finished step: its number from 1 and the estimate x̂0, (1, 4, h, w), for the preview."""

    number: int
    denoised: torch.Tensor


class StageSampler:
    """The sampling of one stage; `weights` tells before it runs what each step will mix."""

    def __init__(
        self,
        model: Model,
        stage: StagePlan,
        conditioning: Conditioning,
        refined: Conditioning | None = None,
    ) -> None:
        """Make ready a stage. refined: the text as the refiner reads it, where it takes part."""
        self.model, self.stage, self.conditioning, self.refined = model, stage, conditioning, refined
        self.settings = stage.settings
        pipeline = model.pipeline
        self.scheduler = make_scheduler(
            self.settings.scheduler, pipeline.scheduler.config, sample_is_mixed=stage.index > 0
        )
        self.timesteps = set_last_timesteps(
            self.scheduler,
            stage.num_inference_steps,
            stage.steps - stage.refiner_steps,
            model.device,
        )
        T = self.scheduler.config.num_train_timesteps
        self._handed_over = round(T * (1 - self.settings.refiner_start)) if self._is_ensemble else 0
        self.weights = _weights(stage, self.scheduler, self.timesteps)

    @property
    def model_calls(self) -> float:
        """Return how many times the guidance pair goes through the UNet; half of it counts half."""
        dilated = [weights.dilated for weights in self.weights]
        return pair_calls(self.stage.steps, self.stage.guided_steps, dilated)

    @property
    def _is_ensemble(self) -> bool:
        return self.refined is not None and self.settings.refiner == "ensemble"

    def sample(self, z_ref: torch.Tensor | None) -> Iterator[Step]:
        """Yield a Step per timestep and return the latents, float32 (1, 4, h, w).

        z_ref: the encoded picture that the stage starts from, at its size; None in the base stage.
        """
        is_mixed = self.stage.index > 0
        generator = stage_generator(self.settings.seed, self.stage.index)
        noise = self._noise(generator)
        options = step_options(self.scheduler, generator)
        if z_ref is None:
            x = noise * self.scheduler.init_noise_sigma
        else:
            x = self.scheduler.add_noise(z_ref, noise, self.timesteps[:1])
        for i, t in enumerate(self.timesteps):
            if is_mixed:
                c1 = self.weights[i].c1
                x = (1 - c1) * x + c1 * self.scheduler.add_noise(z_ref, noise, t[None])
            model_input = self.scheduler.scale_model_input(x, t)
            scale = self._guidance_at(i)
            noise_pred = self._predict(model_input, t, scale)
            if is_mixed and self.weights[i].dilated:
                noise_pred = self._mix_dilated(x, noise_pred, t, self.weights[i], scale)
            estimate = denoised(self.scheduler, model_input, noise_pred, float(t))
            x = self.scheduler.step(noise_pred, t, x, return_dict=False, **options)[0]
            yield Step(number=i + 1, denoised=estimate)
        if self.stage.refiner_steps:
            x = yield from self._drawn_again(x, generator)
        return match_statistics(x, z_ref) if is_mixed else x

    def _drawn_again(self, x: torch.Tensor, generator: torch.Generator) -> Iterator[Step]:
        """Put noise on finished latents (1, 4, h, w) and take the last steps again with the refiner."""
        count, whole = self.stage.refiner_steps, self.stage.num_inference_steps
        scheduler = make_scheduler(self.settings.scheduler, self.model.pipeline.scheduler.config)
        timesteps = set_last_timesteps(scheduler, whole, count, x.device)
        options = step_options(scheduler, generator)
        x = scheduler.add_noise(x, self._noise(generator), timesteps[:1])
        for number, t in enumerate(timesteps, start=len(self.timesteps) + 1):
            model_input = scheduler.scale_model_input(x, t)
            noise_pred = self._refined_noise_pred(model_input, t, self._guidance_at(number - 1))
            estimate = denoised(scheduler, model_input, noise_pred, float(t))
            x = scheduler.step(noise_pred, t, x, return_dict=False, **options)[0]
            yield Step(number=number, denoised=estimate)
        return x

    def _guidance_at(self, step: int) -> float:
        """Return the guidance of a step, counted from 0; 1 turns it off."""
        return self.settings.guidance_scale if step < self.stage.guided_steps else 1.0

    def _predict(self, model_input: torch.Tensor, t: torch.Tensor, guidance_scale: float) -> torch.Tensor:
        if t < self._handed_over:
            return self._refined_noise_pred(model_input, t, guidance_scale)
        unet, serial = self.model.pipeline.unet, self.stage.choices.serial_guidance
        return guided_noise_pred(unet, model_input, t, self.conditioning, guidance_scale, serial=serial)

    def _refined_noise_pred(
        self, model_input: torch.Tensor, t: torch.Tensor, guidance_scale: float
    ) -> torch.Tensor:
        unet, serial = self.model.refiner, self.stage.choices.serial_guidance
        return guided_noise_pred(unet, model_input, t, self.refined, guidance_scale, serial=serial)

    def _mix_dilated(
        self, x: torch.Tensor, noise_pred: torch.Tensor, t: torch.Tensor, weights: StepWeights, scale: float
    ) -> torch.Tensor:
        blurred = match_statistics(gaussian_blur(x, self.settings.gaussian_sigma * weights.c3), x)
        unet, scope = self.model.pipeline.unet, self.settings.dilation_scope
        with dilated_convolutions(unet, self.stage.scale, scope):
            dilated = self._predict(self.scheduler.scale_model_input(blurred, t), t, scale)
        return (1 - weights.c2) * noise_pred + weights.c2 * dilated

    def _noise(self, generator: torch.Generator) -> torch.Tensor:
        unet = self.model.pipeline.unet
        factor = self.model.pipeline.vae_scale_factor
        size = self.stage.size
        shape = (1, unet.config.in_channels, size.height // factor, size.width // factor)
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(self.model.device)


def stage_weights(config: Mapping[str, Any], stage: StagePlan) -> tuple[StepWeights, ...]:
    """Return what each step of a stage will mix, none for the first. config: the model's scheduler's."""
    if stage.index == 0:
        return ()
    scheduler = make_scheduler(stage.settings.scheduler, config, sample_is_mixed=True)
    timesteps = set_last_timesteps(scheduler, stage.num_inference_steps, stage.steps, torch.device("cpu"))
    return _weights(stage, scheduler, timesteps)


def _weights(stage: StagePlan, scheduler: SchedulerMixin, timesteps: torch.Tensor) -> tuple[StepWeights, ...]:
    if stage.index == 0:
        return ()
    T = scheduler.config.num_train_timesteps
    return tuple(cosine_weights(float(t), stage.settings, T) for t in timesteps)


def stage_generator(seed: int, stage: int) -> torch.Generator:
    """Return a CPU generator for (seed, stage): the same noise on every device, another in every stage.

    torch's CPU generator reads 32 bits of a seed, so the two are hashed into that many.
    """
    state = np.random.SeedSequence((seed, stage)).generate_state(1)
    return torch.Generator("cpu").manual_seed(int(state[0]))
