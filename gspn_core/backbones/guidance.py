"""Classifier-free guidance (2207.12598)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from gspn_core.backbones.backbone import Rows

SomeRows = TypeVar("SomeRows", bound=Rows)


def guided(
    predict: Callable[[SomeRows], Tensor], rows: SomeRows, guidance_scale: float, *, serial: bool = False
) -> Tensor:
    """Return u + g·(p - u), float32 (1, C, h, w), or p alone where g is 1.

    Args:
        predict: the network's prediction for rows of text, (rows, C, h, w).
        rows: the guidance pair: u is predicted for the unconditional row, p for the conditional one.
        guidance_scale: g.
        serial: run the two halves one after the other instead of as one batch.
    """
    if guidance_scale == 1.0:
        return predict(rows.positive_only())
    if serial:
        unconditional = predict(rows.negative_only())
        conditional = predict(rows.positive_only())
    else:
        unconditional, conditional = predict(rows).chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)
