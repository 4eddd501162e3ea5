"""Which backbones there are: a row per model family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gspn_core.backbones.backbone import Backbone
from gspn_core.backbones.model import Model
from gspn_core.backbones.refiner import Refiner
from gspn_core.backbones.sdxl import SDXL
from gspn_core.backbones.x4 import X4Upscaler

BACKBONES: Mapping[str, Callable[[Model], Backbone]] = MappingProxyType(
    {"sdxl": SDXL, "refiner": Refiner, "x4": X4Upscaler}
)


def make_backbone(model: Model, name: str = "") -> Backbone:
    """Return a backbone over a loaded model's parts. name: a row; "" for the model's own family."""
    return BACKBONES[name or model.family](model)
