"""Schedulers by their usual names, the timesteps that a stage runs, and its cosine weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

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

_KARRAS = {"use_karras_sigmas": True}
_DPM = {"algorithm_type": "dpmsolver++"}
_SDE = {"algorithm_type": "sde-dpmsolver++"}
_STOCHASTIC = ("sde-dpmsolver++", "sde-dpmsolver")
_CLASSES: Mapping[SchedulerName, tuple[type[SchedulerMixin], Mapping[str, Any]]] = {
    "euler": (EulerDiscreteScheduler, {}),
    "euler-karras": (EulerDiscreteScheduler, _KARRAS),
    "dpm++2m": (DPMSolverMultistepScheduler, _DPM),
    "dpm++2m-karras": (DPMSolverMultistepScheduler, {**_DPM, **_KARRAS}),
    "dpm++2m-sde": (DPMSolverMultistepScheduler, _SDE),
    "dpm++2m-sde-karras": (DPMSolverMultistepScheduler, {**_SDE, **_KARRAS}),
    "unipc": (UniPCMultistepScheduler, {}),
    "ddim": (DDIMScheduler, {"set_alpha_to_one": True, "clip_sample": False}),
}


def make_scheduler(
    name: SchedulerName, config: Mapping[str, Any], *, sample_is_mixed: bool = False
) -> SchedulerMixin:
    """Return a fresh scheduler of that name with the model's own noise schedule.

    sample_is_mixed: the caller changes the sample between steps. UniPC's corrector, which would take the step
    before again from its own sample and so undo that, is then left out.
    """
    cls, options = _CLASSES[name]
    if sample_is_mixed and cls is UniPCMultistepScheduler:
        options = {**options, "disable_corrector": list(range(config["num_train_timesteps"]))}
    return cls.from_config(dict(config), **options)


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


def cosine_weights(timestep: float, settings: Settings, num_train_timesteps: int) -> StepWeights:
    """Return a step's weights: c = ½(1 + cos(π(T - t)/T)) raised to each cosine scale (DemoFusion, §3.3)."""
    T, t = num_train_timesteps, timestep
    c = 0.5 * (1 + math.cos(math.pi * (T - t) / T))
    c2 = c**settings.cosine_scale_2
    return StepWeights(
        timestep=t,
        c1=c**settings.cosine_scale_1,
        c2=c2,
        c3=0.99 * c**settings.cosine_scale_3 + 0.01,
        dilated=c2 >= settings.dilated_min_weight,
    )


def denoised(
    scheduler: SchedulerMixin, model_input: torch.Tensor, noise_pred: torch.Tensor, timestep: float
) -> torch.Tensor:
    """Return the estimate x̂0, (B, C, H, W), from the scaled model input and the prediction at a timestep.

    The scaled input is variance-preserving under every scheduler: √ᾱ·x0 + √(1 - ᾱ)·ε.
    """
    alpha = scheduler.alphas_cumprod[min(int(round(timestep)), len(scheduler.alphas_cumprod) - 1)].item()
    signal, noise = math.sqrt(alpha), math.sqrt(1 - alpha)
    if scheduler.config.prediction_type == "v_prediction":
        return signal * model_input - noise * noise_pred
    return (model_input - noise * noise_pred) / signal
