"""What predicts in a step: the backbone with the guidance pair, for the whole picture or for tiles of it.

A stage in tiles evaluates the backbone once per tile, as the crop that it is:

p = Σ w·p_tile / Σ w          where tiles are, w falling to their edges (MultiDiffusion, 2302.08113, eq. 5)
p = prediction of z_ref       elsewhere, so that the picture there is the noised reference at every step

Samplers are linear in the prediction, so blending predictions is blending latents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gspn_core.backbones.backbone import NO_EXTRA, Backbone, Extra, NoisePath, Rows
from gspn_core.backbones.guidance import guided
from gspn_core.kinds.tiles import Crop
from gspn_core.planning.types import Size, StagePlan


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A backbone with the text rows that it reads in a stage, and the guidance scale of a step."""

    backbone: Backbone
    rows: Rows
    guidance_scale: float
    serial: bool

    def __call__(self, path: NoisePath, t: Tensor, extra: Extra, x: Tensor) -> Tensor:
        """Return the guided prediction, (1, C, h, w), from latents in the scheduler's own scale."""
        predict = partial(self.backbone.predict, path.scaled(x, t), t, extra=extra)
        return guided(predict, self.rows, self.guidance_scale, serial=self.serial)


@dataclass(frozen=True, kw_only=True)
class TilePredictor(Predictor):
    """Predicts tiles of a picture; see the module.

    Args:
        stage: that the tiles are of.
        crops: the tiles.
        reference: what the rest stays, encoded, (1, C, h, w).
    """

    stage: StagePlan
    crops: Sequence[Crop]
    reference: Tensor

    def __call__(self, path: NoisePath, t: Tensor, extra: Extra, x: Tensor) -> Tensor:
        """Return the guided prediction, (1, C, h, w), from latents in the scheduler's own scale."""
        model_input = path.scaled(x, t)
        total = torch.zeros_like(x)
        weights = torch.zeros_like(x[:, :1])
        for crop in self.crops:
            cut = partial(_cut, crop=crop, size=self.stage.size)
            predict = partial(self.backbone.predict, cut(model_input), t, extra=_extra(extra, cut))
            rows = self.rows.at_crop(crop.top, crop.left, Size(crop.height, crop.width), self.stage.settings)
            noise_pred = guided(predict, rows, self.guidance_scale, serial=self.serial)
            weight = _weight(*noise_pred.shape[2:], self._shared(noise_pred, crop), noise_pred)
            cut(total).add_(noise_pred * weight)
            cut(weights).add_(weight)
        rest = path.prediction(model_input, self.reference, float(t))
        return torch.where(weights > 0, total / weights.clamp_min(1e-12), rest)

    def _shared(self, noise_pred: Tensor, crop: Crop) -> int:
        """Return how many latents two neighbouring tiles share at least."""
        return max(1, self.stage.tiling.overlap * noise_pred.shape[2] // crop.height)


def in_tiles(
    predictor: Predictor, stage: StagePlan, crops: Sequence[Crop], reference: Tensor
) -> TilePredictor:
    """Return what predicts tiles of a stage as `predictor` predicts all of it; see `TilePredictor`."""
    own = {field.name: getattr(predictor, field.name) for field in dataclasses.fields(predictor)}
    return TilePredictor(**own, stage=stage, crops=crops, reference=reference)


def _cut(maps: Tensor, *, crop: Crop, size: Size) -> Tensor:
    """Return a view of the part of maps (1, c, h, w) of a picture of `size` that a crop of it covers."""
    h, w = maps.shape[2:]
    top, bottom = (side * h // size.height for side in (crop.top, crop.top + crop.height))
    left, right = (side * w // size.width for side in (crop.left, crop.left + crop.width))
    return maps[:, :, top:bottom, left:right]


def _extra(extra: Extra, cut: partial[Tensor]) -> Extra:
    """Return what controls add, for a crop."""
    if extra is NO_EXTRA:
        return extra
    channels = None if extra.channels is None else cut(extra.channels)
    return dataclasses.replace(
        extra,
        channels=channels,
        residuals=tuple(map(cut, extra.residuals)),
        conditions=tuple(condition.cut(cut) for condition in extra.conditions),
    )


def _weight(height: int, width: int, shared: int, like: Tensor) -> Tensor:
    """Return weights (h, w) that rise linearly from a tile's edge over what it shares with its neighbours."""

    def ramp(length: int) -> Tensor:
        position = torch.arange(length, device=like.device, dtype=torch.float32) + 0.5
        return torch.minimum(position, length - position).clamp_max(shared) / shared

    return ramp(height)[:, None] * ramp(width)[None, :]
