"""How weights are stored in fewer bits than the rest of their model: what memory follows from. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """Weights that are stored in fewer bits than the rest of their model.

    Args:
        scheme: its name in `gspn_core.models.quantize.SCHEMES`.
        package: the package that computes with it.
        layers: how many linear layers are quantized.
        numbers: how many weights they have.
        kept_bytes: what they take, scales included.
        by_layer: single layers can be offloaded to the host and back.
    """

    scheme: str
    package: str
    layers: int
    numbers: int
    kept_bytes: int
    by_layer: bool = True
