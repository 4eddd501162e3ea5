"""The contracts of a model family: its codec, its noise path and the backbone that predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from diffusers import SchedulerMixin
from torch import Tensor, nn

from gspn_core.backbones.conditions import Condition
from gspn_core.planning.types import Size, StagePlan
from gspn_core.settings import Settings

Tiles = Iterator[tuple[int, int]]


class Codec(Protocol):
    """Between samples (1, 3, H, W) in [-1, 1] and scaled latents (1, C, h, w), both float32.

    encode and decode are generators: they yield (tile, tiles) after each tile and return the result.

    Attributes:
        factor: H / h.
        channels: C.
        scaling: standard deviation 1 / scaling of the latents before they are scaled.
    """

    factor: int
    channels: int
    scaling: float

    def encode(self, sample: Tensor) -> Tiles:
        """Encode a sample to the mean of its latents."""
        ...

    def decode(self, latents: Tensor) -> Tiles:
        """Decode latents to a sample."""
        ...


class NoisePath(Protocol):
    """From pure noise to a clean picture, as one scheduler walks it.

    x is what the scheduler steps, `scaled(x, t)` what the network reads; t counts down from
    num_train_timesteps.
    """

    num_train_timesteps: int

    @property
    def sigmas(self) -> np.ndarray:
        """Return noise over signal at every training timestep, ascending, float64 (T,)."""
        ...

    def level(self, t: float) -> float:
        """Return the noise level in [0, 1]: 0 is clean, 1 is pure noise."""
        ...

    def noised(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return x at a timestep (1,) from clean latents and standard noise."""
        ...

    def scaled(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the network's input."""
        ...

    def clean(self, model_input: Tensor, prediction: Tensor, t: float) -> Tensor:
        """Return the estimate x̂0 that a prediction from a scaled input makes."""
        ...

    def prediction(self, model_input: Tensor, clean: Tensor, t: float) -> Tensor:
        """Return the prediction of which `clean` makes that estimate."""
        ...


class Rows(Protocol):
    """The guidance pair as a backbone reads it: unconditional rows, then conditional ones."""

    def positive_only(self) -> Rows:
        """Return the conditional row alone."""
        ...

    def negative_only(self) -> Rows:
        """Return the unconditional row alone."""
        ...

    def repeated(self, count: int) -> Rows:
        """Return the pair for that many pictures that are drawn at once."""
        ...

    def at_crop(self, top: int, left: int, size: Size, settings: Settings) -> Rows:
        """Return the same for a crop of `size` at (top, left) px of a stage's picture."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Extra:
    """What a network reads besides latents and text; one row each, for both halves of the guidance pair.

    Attributes:
        channels: (1, c, h, w), appended to the latents.
        class_labels: (1,).
        residuals: added to the UNet's skip tensors in their order, and the last one to its middle block's
            output (ControlNet, 2302.05543).
        conditions: ControlNets and T2I-Adapters, which are evaluated with each call of the network.
    """

    channels: Tensor | None = None
    class_labels: Tensor | None = None
    residuals: tuple[Tensor, ...] = ()
    conditions: tuple[Condition, ...] = ()


NO_EXTRA = Extra()


def joined(extras: Iterable[Extra]) -> Extra:
    """Return all as one: channels one after the other, residuals added, the last class labels."""
    given = [extra for extra in extras if extra is not NO_EXTRA]
    if not given:
        return NO_EXTRA
    channels = [extra.channels for extra in given if extra.channels is not None]
    labels = [extra.class_labels for extra in given if extra.class_labels is not None]
    residuals = [extra.residuals for extra in given if extra.residuals]
    return Extra(
        channels=torch.cat(channels, dim=1) if channels else None,
        class_labels=labels[-1] if labels else None,
        residuals=tuple(sum(maps) for maps in zip(*residuals, strict=True)),
        conditions=tuple(condition for extra in given for condition in extra.conditions),
    )


class Backbone(Protocol):
    """A network with its codec, its noise path and its way to read text.

    Attributes:
        name: its row in `registry.BACKBONES`.
        net: the network that controls attach to.
        device: where it computes; `net` may be elsewhere between stages.
        between: called before each tile of a prediction, where it has tiles; may raise Stopped.
    """

    name: str
    net: nn.Module
    device: torch.device
    between: Callable[[], None]

    def codec(self, tile_px: int | None = None) -> Codec:
        """Return its codec; pictures larger than tile_px go through it in tiles."""
        ...

    def path(self, scheduler: SchedulerMixin) -> NoisePath:
        """Return its noise path as a scheduler walks it."""
        ...

    def read(self, prompt: str, negative_prompt: str) -> Rows:
        """Encode both prompts; the text encoders are on the device."""
        ...

    def rows(self, text: Rows, stage: StagePlan) -> Rows:
        """Return an encoded text with what else the network reads about a stage."""
        ...

    def predict(self, model_input: Tensor, t: Tensor, rows: Rows, extra: Extra = NO_EXTRA) -> Tensor:
        """Return the network's prediction for each row, float32 (rows, C, h, w).

        Args:
            model_input: scaled latents (n, C, h, w) of n pictures, the same for both halves of the pair.
            t: timestep.
            rows: the guidance pair or one half of it.
            extra: what controls add.
        """
        ...
