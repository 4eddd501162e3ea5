"""What each step of a later stage mixes, known before the stage runs: cosine weights over the noise level.

c(t) = ½(1 + cos(π(T - t)/T))      c1 = c^s1,  c2 = c^s2,  c3 = 0.99·c^s3 + 0.01    (DemoFusion, §3.3)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gspn_core.backbones.backbone import NoisePath
from gspn_core.backbones.noise_path import diffusion_path
from gspn_core.cascade.schedule import stage_schedule
from gspn_core.controls.dilated_branch import dilated_share
from gspn_core.controls.registry import extra_evaluations
from gspn_core.events import StepWeights
from gspn_core.planning.costs import pair_calls
from gspn_core.planning.types import StagePlan
from gspn_core.settings import Settings


def stage_weights(config: Mapping[str, Any], stage: StagePlan) -> tuple[StepWeights, ...]:
    """Return the weights of each step of a stage. config: the model's scheduler's."""
    scheduler, timesteps = stage_schedule(stage, config, torch.device("cpu"))
    return step_weights(stage, diffusion_path(scheduler), timesteps)


def step_weights(stage: StagePlan, path: NoisePath, timesteps: torch.Tensor) -> tuple[StepWeights, ...]:
    """Return the weights of a stage at its timesteps, none for a kind that does not read them."""
    if "cosine_scale_1" not in stage.kind.reads:
        return ()
    T, count = path.num_train_timesteps, len(timesteps)
    sigmas = np.interp(timesteps.double().cpu().numpy(), np.arange(T), path.sigmas)
    cosine = (cosine_weights(float(t), stage.settings, T, i / count) for i, t in enumerate(timesteps))
    if "dilation_use" not in stage.kind.reads:
        cosine = (dataclasses.replace(weights, c2=0.0, dilated=False) for weights in cosine)
    return tuple(
        dataclasses.replace(
            weights,
            sigma=float(sigma),
            held=weights.c1 * (1 - dilated_share(weights)),
            layout_px=layout_px(stage.settings.gaussian_sigma, float(sigmas[0]), weights.c3),
        )
        for weights, sigma in zip(cosine, sigmas, strict=True)
    )


def cosine_weights(
    timestep: float, settings: Settings, num_train_timesteps: int, progress: float = 0.0
) -> StepWeights:
    """Return a step's cosine weights.

    Args:
        timestep: t; t / T is the noise level.
        settings: the cosine scales, and until when the dilated branch has a weight.
        num_train_timesteps: T.
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


def layout_px(gaussian_sigma: float, start_sigma: float, c3: float) -> float:
    """Return the width in px of the base above which a structure counts as layout: σ·σ(t₀)/c3.

    Natural spectra fall as one over the frequency, so the stronger the noise at the stage's start, the wider
    the structures that it hides.
    """
    return gaussian_sigma * start_sigma / c3


def evaluations(stage: StagePlan, weights: Sequence[StepWeights]) -> float:
    """Return how many times a stage evaluates the UNet on the guidance pair; half of it counts half."""
    pairs = pair_calls(stage.steps, stage.guided_steps, extra_evaluations(stage, weights))
    return pairs * stage.evaluations_per_step
