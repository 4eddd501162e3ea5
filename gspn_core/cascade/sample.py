"""One stage: the sampling loop at one size, from noise (base), from the image of the stage before, or from
the image that the run starts from.

x  = add_noise(z_ref, ε, t₀)                              t₀ = T·strength
p  = guided(UNet(x, t))
p  = (1 - c2)·p + c2·guided(dilated UNet(blur(x), t))       where c2 is large enough
x̂0 = x̂0(p) + c1·(1 - c2)·blur(z_ref - x̂0(p))             skip residual, of what is coarser than the blur
x  = scheduler.step(p(x̂0), t, x)                          once per timestep

The skip residual pulls the clean estimate, so the noise level stays the scheduler's own, whatever it adds.
A first stage mixes nothing: what the model redraws of an initial image, it is free to change.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import SchedulerMixin

from gspn_core.cascade.conditioning import Conditioning
from gspn_core.cascade.dilation import dilated
from gspn_core.cascade.filters import gaussian_blur, match_statistics
from gspn_core.cascade.guidance import guided_noise_pred
from gspn_core.cascade.model import Model
from gspn_core.cascade.schedule import (
    cosine_weights,
    denoised,
    make_scheduler,
    noise_levels,
    prediction_of,
    set_last_timesteps,
    set_timesteps_from,
    step_options,
)
from gspn_core.events import StepWeights
from gspn_core.planning.plan import pair_calls
from gspn_core.planning.types import StagePlan

# A pull by less than this is not to be seen, and costs a blur.
_LEAST_PULL = 1e-3


@dataclass(frozen=True, kw_only=True)
class Step:
    """A finished step: its number from 1 and the estimate x̂0, (1, 4, h, w), for the preview."""

    number: int
    denoised: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Hold:
    """How a finished image is held to the stage before it.

    weight: by which share; sigma_px: above which width of structures, in px of the base.
    """

    weight: float
    sigma_px: float


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
        self.scheduler, self.timesteps = _schedule(stage, pipeline.scheduler.config, model.device)
        T = self.scheduler.config.num_train_timesteps
        self._handed_over = round(T * (1 - self.settings.refiner_start)) if self._is_ensemble else 0
        self.weights = _weights(stage, self.scheduler, self.timesteps)

    @property
    def model_calls(self) -> float:
        """Return how many times the guidance pair goes through the UNet; half of it counts half."""
        return evaluations(self.stage, self.weights)

    @property
    def hold(self) -> Hold:
        """Return how the finished image is held to the one before, by the weights of the first step."""
        if not self.weights:
            return Hold(weight=0.0, sigma_px=0.0)
        first = self.weights[0]
        weight = self.settings.keep_base * first.c1 * (1 - _redrawn(first))
        return Hold(weight=weight, sigma_px=first.layout_px)

    @property
    def _is_ensemble(self) -> bool:
        return self.refined is not None and self.settings.refiner == "ensemble"

    def sample(self, z_ref: torch.Tensor | None) -> Iterator[Step]:
        """Yield a Step per timestep and return the latents, float32 (1, 4, h, w).

        z_ref: the encoded picture that the stage starts from, at its size; None in the base stage.
        """
        generator = stage_generator(self.settings.seed, self.stage.index)
        noise = self._noise(generator)
        options = step_options(self.scheduler, generator)
        if z_ref is None:
            x = noise * self.scheduler.init_noise_sigma
        else:
            x = self.scheduler.add_noise(z_ref, noise, self.timesteps[:1])
        for i, t in enumerate(self.timesteps):
            model_input = self.scheduler.scale_model_input(x, t)
            noise_pred = self._mixed_prediction(x, model_input, i, t)
            estimate = denoised(self.scheduler, model_input, noise_pred, float(t))
            if self.weights:
                estimate = self._pulled(estimate, z_ref, self.weights[i])
                noise_pred = prediction_of(self.scheduler, model_input, estimate, float(t))
            x = self.scheduler.step(noise_pred, t, x, return_dict=False, **options)[0]
            yield Step(number=i + 1, denoised=estimate)
        if self.stage.refiner_steps:
            x = yield from self._drawn_again(x, generator)
        return match_statistics(x, z_ref) if self.weights else x

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

    def _mixed_prediction(
        self, x: torch.Tensor, model_input: torch.Tensor, i: int, t: torch.Tensor
    ) -> torch.Tensor:
        """Return the guided prediction, with the dilated UNet's in it or in its place where it has a say."""
        scale, weights = self._guidance_at(i), self.weights[i] if self.weights else None
        if weights is None or not weights.dilated:
            return self._predict(model_input, t, scale)
        unet, scope = self.model.pipeline.unet, self.settings.dilation_scope
        if self.settings.dilation_use == "main":
            with dilated(unet, self.stage.scale, scope):
                return self._predict(model_input, t, scale)
        noise_pred = self._predict(model_input, t, scale)
        # A latent at the base's size stands for `scale` of this stage's; the blur takes away what the dilated
        # convolutions would alias.
        sigma = self.settings.gaussian_sigma * weights.c3 * self.stage.scale
        blurred = match_statistics(gaussian_blur(x, sigma), x)
        with dilated(unet, self.stage.scale, scope):
            other = self._predict(self.scheduler.scale_model_input(blurred, t), t, scale)
        return (1 - weights.c2) * noise_pred + weights.c2 * other

    def _pulled(self, estimate: torch.Tensor, z_ref: torch.Tensor, weights: StepWeights) -> torch.Tensor:
        """Return the estimate with its layout pulled towards the reference's; both (1, 4, h, w)."""
        if weights.held < _LEAST_PULL:
            return estimate
        sigma = weights.layout_px * self.stage.scale / self.model.pipeline.vae_scale_factor
        # One latent says the layout and the detail of its own px, so less than one of them cannot be parted.
        return estimate + weights.held * gaussian_blur(z_ref - estimate, math.hypot(sigma, 1.0))

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
    return _weights(stage, *_schedule(stage, config, torch.device("cpu")))


def evaluations(stage: StagePlan, weights: Sequence[StepWeights]) -> float:
    """Return how many times a stage evaluates the UNet on the guidance pair; half of it counts half."""
    extra = [step.dilated and stage.settings.dilation_use == "branch" for step in weights]
    return pair_calls(stage.steps, stage.guided_steps, extra)


def _schedule(
    stage: StagePlan, config: Mapping[str, Any], device: torch.device
) -> tuple[SchedulerMixin, torch.Tensor]:
    """Return a stage's scheduler and its timesteps: from a noise level where it starts from an image."""
    own, whole, steps = stage.settings, stage.num_inference_steps, stage.steps - stage.refiner_steps
    if stage.is_base or stage.is_kept:
        scheduler = make_scheduler(own.scheduler, config)
        return scheduler, set_last_timesteps(scheduler, whole, steps, device)
    strength = own.upscale_strength if stage.index else own.start_strength
    scheduler = make_scheduler(own.scheduler, config, from_level=True)
    return scheduler, set_timesteps_from(scheduler, strength, whole, steps, device)


def _weights(stage: StagePlan, scheduler: SchedulerMixin, timesteps: torch.Tensor) -> tuple[StepWeights, ...]:
    if stage.index == 0:
        return ()
    T, count = scheduler.config.num_train_timesteps, len(timesteps)
    levels = np.interp(timesteps.double().cpu().numpy(), np.arange(T), noise_levels(scheduler))
    cosine = (cosine_weights(float(t), stage.settings, T, i / count) for i, t in enumerate(timesteps))
    return tuple(
        dataclasses.replace(
            weights,
            sigma=float(level),
            held=weights.c1 * (1 - _redrawn(weights)),
            layout_px=layout_px(stage.settings.gaussian_sigma, float(levels[0]), weights.c3),
        )
        for weights, level in zip(cosine, levels, strict=True)
    )


def layout_px(gaussian_sigma: float, start_level: float, c3: float) -> float:
    """Return the width in px of the base above which a structure counts as layout.

    Natural spectra fall as one over the frequency, so what the noise of the stage's start has drowned is
    wider by as much as that noise is stronger: σ·σ(t₀), and wider still as c3 falls.
    """
    return gaussian_sigma * start_level / c3


def _redrawn(weights: StepWeights) -> float:
    """Return the share of a step's prediction that the dilated UNet makes: its layout is not held."""
    return weights.c2 if weights.dilated else 0.0


def stage_generator(seed: int, stage: int) -> torch.Generator:
    """Return a CPU generator for (seed, stage): the same noise on every device, another in every stage.

    torch's CPU generator reads 32 bits of a seed, so the two are hashed into that many.
    """
    state = np.random.SeedSequence((seed, stage)).generate_state(1)
    return torch.Generator("cpu").manual_seed(int(state[0]))
