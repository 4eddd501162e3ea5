"""Schedulers by their usual names, the timesteps that a stage runs, and its cosine weights.

A stage that starts from an image starts at a noise level: at t₀ = T·strength under every scheduler, and goes
down from there in the scheduler's own spacing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from gspn_core.events import StepWeights
from gspn_core.settings import SchedulerName, Settings

# What a model's own scheduler may ask for besides, which would make a name say something else.
_PLAIN = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
}
_KARRAS = {"use_karras_sigmas": True}
_DPM = {"algorithm_type": "dpmsolver++", "solver_order": 2}
_SDE = {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}
_STOCHASTIC = ("sde-dpmsolver++", "sde-dpmsolver")
_RHO = 7.0
_Scheduler = tuple[type[SchedulerMixin], Mapping[str, Any]]
_CLASSES: Mapping[SchedulerName, _Scheduler] = {
    "euler": (EulerDiscreteScheduler, {}),
    "euler-karras": (EulerDiscreteScheduler, _KARRAS),
    "dpm++2m": (DPMSolverMultistepScheduler, _DPM),
    "dpm++2m-karras": (DPMSolverMultistepScheduler, {**_DPM, **_KARRAS}),
    "dpm++2m-sde": (DPMSolverMultistepScheduler, _SDE),
    "dpm++2m-sde-karras": (DPMSolverMultistepScheduler, {**_SDE, **_KARRAS}),
    "unipc": (UniPCMultistepScheduler, {}),
    "ddim": (DDIMScheduler, {"set_alpha_to_one": True, "clip_sample": False}),
}
# diffusers' DDIM steps by whole parts of the schedule; its formula is the first order of DPM-Solver++.
_FROM_A_LEVEL: Mapping[SchedulerName, _Scheduler] = {
    "ddim": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 1})
}


def make_scheduler(
    name: SchedulerName, config: Mapping[str, Any], *, from_level: bool = False
) -> SchedulerMixin:
    """Return a fresh scheduler of that name with the model's own noise schedule.

    from_level: it will start at a noise level, see `set_timesteps_from`.
    """
    cls, options = _FROM_A_LEVEL.get(name, _CLASSES[name]) if from_level else _CLASSES[name]
    own = {key: value for key, value in _PLAIN.items() if key in config}
    return cls.from_config({**config, **own}, **options)


def step_options(scheduler: SchedulerMixin, generator: torch.Generator) -> dict[str, Any]:
    """Return what a step is given besides the sample: the source of noise where it adds some."""
    return {"generator": generator} if scheduler.config.get("algorithm_type") in _STOCHASTIC else {}


def set_last_timesteps(
    scheduler: SchedulerMixin, num_inference_steps: int, steps: int, device: torch.device
) -> torch.Tensor:
    """Set the scheduler to the last `steps` of `num_inference_steps` and return them, descending."""
    scheduler.set_timesteps(num_inference_steps, device=device)
    timesteps = scheduler.timesteps
    first = len(timesteps) - steps
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return timesteps[first:]


def set_timesteps_from(
    scheduler: SchedulerMixin, strength: float, num_inference_steps: int, steps: int, device: torch.device
) -> torch.Tensor:
    """Set the scheduler to `steps` timesteps from t₀ = T·strength down and return them, descending.

    num_inference_steps: of the whole schedule, whose smallest noise level Karras' spacing ends at.
    """
    scheduler.set_timesteps(num_inference_steps, device=device)
    T = scheduler.config.num_train_timesteps
    levels = noise_levels(scheduler)
    t0 = max(1, round(T * strength)) - 1
    if scheduler.config.get("use_karras_sigmas"):
        own = scheduler.sigmas[scheduler.sigmas > 0]
        low = min(float(own.min()), float(levels[t0]))
        ramp = np.linspace(levels[t0] ** (1 / _RHO), low ** (1 / _RHO), steps)
        sigmas = ramp**_RHO
        timesteps = np.interp(np.log(sigmas), np.log(levels), np.arange(T))
    else:
        timesteps = (t0 + 1) * (1 - np.arange(steps) / steps) - 1
        sigmas = np.exp(np.interp(timesteps, np.arange(T), np.log(levels)))
    last = float(scheduler.sigmas[-1])
    scheduler.sigmas = torch.tensor([*sigmas, last], dtype=torch.float32)
    kept = scheduler.timesteps.dtype
    whole = timesteps if kept.is_floating_point else timesteps.round()
    scheduler.timesteps = torch.tensor(whole, dtype=kept, device=device)
    scheduler.num_inference_steps = steps
    scheduler.set_begin_index(0)
    return scheduler.timesteps


def noise_levels(scheduler: SchedulerMixin) -> np.ndarray:
    """Return σ = √((1 - ᾱ)/ᾱ) of every training timestep, ascending, float64 (T,)."""
    kept = scheduler.alphas_cumprod.double().cpu().numpy()
    return np.sqrt((1 - kept) / np.maximum(kept, 1e-12))


def cosine_weights(
    timestep: float, settings: Settings, num_train_timesteps: int, progress: float = 0.0
) -> StepWeights:
    """Return a step's weights: c = ½(1 + cos(π(T - t)/T)) raised to each cosine scale (DemoFusion, §3.3).

    progress: share of the stage's steps that come before this one.
    """
    T, t = num_train_timesteps, timestep
    c = 0.5 * (1 + math.cos(math.pi * (T - t) / T))
    in_time = progress < settings.dilation_until
    c2 = c**settings.cosine_scale_2 if settings.dilation_use == "branch" else float(in_time)
    return StepWeights(
        timestep=t,
        c1=c**settings.cosine_scale_1,
        c2=c2,
        c3=0.99 * c**settings.cosine_scale_3 + 0.01,
        dilated=in_time and c2 >= settings.dilated_min_weight,
    )


def denoised(
    scheduler: SchedulerMixin, model_input: torch.Tensor, noise_pred: torch.Tensor, timestep: float
) -> torch.Tensor:
    """Return the estimate x̂0, (B, C, H, W), from the scaled model input and the prediction at a timestep.

    The scaled input is variance-preserving under every scheduler: √ᾱ·x0 + √(1 - ᾱ)·ε.
    """
    signal, noise = _signal_and_noise(scheduler, timestep)
    if scheduler.config.prediction_type == "v_prediction":
        return signal * model_input - noise * noise_pred
    return (model_input - noise * noise_pred) / signal


def prediction_of(
    scheduler: SchedulerMixin, model_input: torch.Tensor, estimate: torch.Tensor, timestep: float
) -> torch.Tensor:
    """Return the prediction of which `denoised` makes that estimate."""
    signal, noise = _signal_and_noise(scheduler, timestep)
    if scheduler.config.prediction_type == "v_prediction":
        return (signal * model_input - estimate) / noise
    return (model_input - signal * estimate) / noise


def _signal_and_noise(scheduler: SchedulerMixin, timestep: float) -> tuple[float, float]:
    """Return √ᾱ and √(1 - ᾱ), in between two training timesteps by the logarithm of the noise level."""
    levels = noise_levels(scheduler)
    sigma = math.exp(np.interp(timestep, np.arange(len(levels)), np.log(levels)))
    signal = 1 / math.sqrt(1 + sigma**2)
    return signal, sigma * signal
