"""The noise path of diffusion models, for networks that predict the noise ε or the velocity v.

    x = √ᾱ·x0 + √(1 - ᾱ)·ε        σ = √(1 - ᾱ) / √ᾱ
    ε:  x̂0 = (x - √(1 - ᾱ)·ε) / √ᾱ
    v:  x̂0 = √ᾱ·x - √(1 - ᾱ)·v    (2202.00512, appendix D)

x here is the scaled input of the network, which is variance-preserving under every scheduler.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from diffusers import SchedulerMixin
from torch import Tensor


class EpsilonPath:
    """The path of a network that predicts the noise, as a scheduler walks it."""

    def __init__(self, scheduler: SchedulerMixin) -> None:
        self.scheduler = scheduler
        self.num_train_timesteps = scheduler.config.num_train_timesteps

    @cached_property
    def sigmas(self) -> np.ndarray:
        """Return σ of every training timestep, ascending, float64 (T,)."""
        return training_sigmas(self.scheduler)

    def level(self, t: float) -> float:
        """Return t / T."""
        return t / self.num_train_timesteps

    def noised(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return clean latents (1, C, h, w) with noise at a timestep (1,), in the scheduler's own scale."""
        return self.scheduler.add_noise(clean, noise, t)

    def scaled(self, x: Tensor, t: Tensor) -> Tensor:
        """Return x, (1, C, h, w), as the network reads it."""
        return self.scheduler.scale_model_input(x, t)

    def clean(self, model_input: Tensor, prediction: Tensor, t: float) -> Tensor:
        """Return the estimate x̂0, (B, C, h, w)."""
        signal, noise = self._signal_and_noise(t)
        return (model_input - noise * prediction) / signal

    def prediction(self, model_input: Tensor, clean: Tensor, t: float) -> Tensor:
        """Return the prediction of which `clean` makes that estimate."""
        signal, noise = self._signal_and_noise(t)
        return (model_input - signal * clean) / noise

    def _signal_and_noise(self, t: float) -> tuple[float, float]:
        """Return √ᾱ and √(1 - ᾱ); between two training timesteps log σ is linear."""
        sigma = math.exp(np.interp(t, np.arange(len(self.sigmas)), self._log_sigmas))
        signal = 1 / math.sqrt(1 + sigma**2)
        return signal, sigma * signal

    @cached_property
    def _log_sigmas(self) -> np.ndarray:
        return np.log(self.sigmas)


class VelocityPath(EpsilonPath):
    """The same path for a network that predicts v = √ᾱ·ε - √(1 - ᾱ)·x0."""

    def clean(self, model_input: Tensor, prediction: Tensor, t: float) -> Tensor:
        """Return the estimate x̂0, (B, C, h, w)."""
        signal, noise = self._signal_and_noise(t)
        return signal * model_input - noise * prediction

    def prediction(self, model_input: Tensor, clean: Tensor, t: float) -> Tensor:
        """Return the prediction of which `clean` makes that estimate."""
        signal, noise = self._signal_and_noise(t)
        return (signal * model_input - clean) / noise


_PATHS = {"epsilon": EpsilonPath, "v_prediction": VelocityPath}


def diffusion_path(scheduler: SchedulerMixin) -> EpsilonPath:
    """Return the path of what the scheduler says that the network predicts.

    Raises:
        ValueError: the network predicts something else.
    """
    kind = scheduler.config.prediction_type
    if kind not in _PATHS:
        raise ValueError(f"prediction_type must be one of {', '.join(_PATHS)}, got {kind}.")
    return _PATHS[kind](scheduler)


def training_sigmas(scheduler: SchedulerMixin) -> np.ndarray:
    """Return σ = √((1 - ᾱ)/ᾱ) of every training timestep, ascending, float64 (T,)."""
    kept = scheduler.alphas_cumprod.double().cpu().numpy()
    return np.sqrt((1 - kept) / np.maximum(kept, 1e-12))
