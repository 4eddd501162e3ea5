"""A linear layer's weight in full, however it is kept: in fewer bits its numbers cannot be read as is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def is_kept_whole(layer: nn.Linear) -> bool:
    """Tell whether a layer's weight is a plain tensor, and not kept in fewer bits by some package."""
    return type(layer.weight) is nn.Parameter and layer.weight.is_floating_point()


@torch.no_grad()
def full_weight(layer: nn.Linear) -> Tensor:
    """Return a layer's weight (O, I) in the dtype that it computes in: W = (layer(1) - b)ᵀ, 1 of size I.

    Whatever package keeps it in fewer bits, that is the weight that the layer works with.
    """
    if is_kept_whole(layer):
        return layer.weight
    kept = layer.weight
    dtype = kept.dtype if kept.dtype.is_floating_point else layer.compute_dtype
    result = layer(torch.eye(layer.in_features, dtype=dtype, device=kept.device))
    return (result if layer.bias is None else result - layer.bias).T
