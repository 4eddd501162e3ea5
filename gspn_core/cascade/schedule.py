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
    LCMScheduler,
    SchedulerMixin,
    TCDScheduler,
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
    "lcm": (LCMScheduler, {"set_alpha_to_one": True, "clip_sample": False}),
    "tcd": (TCDScheduler, {"set_alpha_to_one": True, "clip_sample": False}),
}
# They draw the estimate x̂0 at every step and put noise on it again (2310.04378, 2402.19159).
_CONSISTENCY = (LCMScheduler, TCDScheduler)
# How far a step of TCD goes past its end before noise is put on again, as published.
_TCD_ETA = 0.3
# Of the schedule that consistency models are distilled on; a run takes some of them.
_DISTILLED_STEPS = 50
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
        if stage.backbone == "x4" and own.scheduler == "ddim":
            # It was published with this sampler, whose last step is its own.
            scheduler = DDIMScheduler.from_config(config)
        return scheduler, set_last_timesteps(scheduler, whole, steps, device)
    strength = own.upscale_strength if stage.index else own.start_strength
    scheduler = make_scheduler(own.scheduler, config, from_level=True)
    return scheduler, set_timesteps_from(scheduler, strength, whole, steps, device)


def step_options(
    scheduler: SchedulerMixin, generator: torch.Generator | list[torch.Generator]
) -> dict[str, Any]:
    """Return a step's keyword arguments: a generator per picture for a scheduler that adds noise."""
    if isinstance(scheduler, TCDScheduler):
        # As a tensor, since a number takes the default dtype, in which timesteps may be rounded.
        return {"generator": generator, "eta": torch.tensor(_TCD_ETA, dtype=torch.float32)}
    noisy = isinstance(scheduler, _CONSISTENCY) or scheduler.config.get("algorithm_type") in _STOCHASTIC
    return {"generator": generator} if noisy else {}


def set_last_timesteps(
    scheduler: SchedulerMixin, num_inference_steps: int, steps: int, device: torch.device
) -> torch.Tensor:
    """Set the scheduler to the last `steps` of `num_inference_steps` and return them, descending."""
    _set_whole(scheduler, num_inference_steps, device)
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
    _set_whole(scheduler, num_inference_steps, device)
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
    if hasattr(scheduler, "sigmas"):
        last = float(scheduler.sigmas[-1])
        scheduler.sigmas = torch.tensor([*sigmas, last], dtype=torch.float32)
    kept = scheduler.timesteps.dtype
    whole = timesteps if kept.is_floating_point else timesteps.round()
    scheduler.timesteps = torch.tensor(whole, dtype=kept, device=device)
    scheduler.num_inference_steps = steps
    scheduler.set_begin_index(0)
    return scheduler.timesteps


def _set_whole(scheduler: SchedulerMixin, num_inference_steps: int, device: torch.device) -> None:
    """Set the scheduler to its whole schedule of that many timesteps."""
    options = {}
    if isinstance(scheduler, _CONSISTENCY) and num_inference_steps > _DISTILLED_STEPS:
        options["original_inference_steps"] = num_inference_steps
    scheduler.set_timesteps(num_inference_steps, device=device, **options)
