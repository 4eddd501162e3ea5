"""Schedulers by their usual names, and the timesteps that a stage runs.

A stage that starts from an image starts at t₀ = T·strength under every scheduler, and goes down from there in
the scheduler's own spacing.
"""

from __future__ import annotations

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

from gspn_core.backbones.noise_path import training_sigmas
from gspn_core.planning.types import StagePlan
from gspn_core.settings import SchedulerName

# Options of a model's own scheduler that would contradict the scheduler's name.
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


def stage_schedule(
    stage: StagePlan, config: Mapping[str, Any], device: torch.device
) -> tuple[SchedulerMixin, torch.Tensor]:
    """Return a stage's scheduler and its timesteps: from a noise level where it starts from an image."""
    own, whole, steps = stage.settings, stage.num_inference_steps, stage.steps - stage.refiner_steps
    if not (stage.kind.encodes and stage.kind.denoises):
        scheduler = make_scheduler(own.scheduler, config)
        return scheduler, set_last_timesteps(scheduler, whole, steps, device)
    strength = own.upscale_strength if stage.index else own.start_strength
    scheduler = make_scheduler(own.scheduler, config, from_level=True)
    return scheduler, set_timesteps_from(scheduler, strength, whole, steps, device)


def step_options(scheduler: SchedulerMixin, generator: torch.Generator) -> dict[str, Any]:
    """Return a step's keyword arguments: the generator, for a scheduler that adds noise."""
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

    num_inference_steps: of the whole schedule; Karras' spacing ends at its smallest noise level.
    """
    scheduler.set_timesteps(num_inference_steps, device=device)
    T = scheduler.config.num_train_timesteps
    levels = training_sigmas(scheduler)
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
