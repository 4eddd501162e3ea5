"""Muon: momentum whose update matrix is made orthogonal, for the matrices and filters of a network.

After Jordan (2024, kellerjordan.github.io/posts/muon), scaled to AdamW's step size as in arXiv 2502.16982.
Fewer steps than AdamW to the same loss, which on a CPU is worth the extra matrix products.
"""

from collections.abc import Iterable

import torch
from torch import nn

# The odd quintic a·s + b·s³ + c·s⁵ that drives all singular values towards 1 in five rounds.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_ADAM_STEP = 0.2


class Muon(torch.optim.Optimizer):
    """Steps matrices (m, n) and convolution filters (m, i, kh, kw), read as (m, i·kh·kw)."""

    def __init__(
        self, weights: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ):
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Take one step along the orthogonalised Nesterov momentum."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                kept = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(kept, group["momentum"]).flatten(1)
                update = orthogonalize(ahead).view(weight.shape)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * _ADAM_STEP * max(ahead.shape) ** 0.5)


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """Return U·Vᵀ of matrix = U·S·Vᵀ, nearly (singular values between 0.7 and 1.2), by Newton-Schulz."""
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.mT if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).to(matrix.dtype)


def splits(modules: Iterable[nn.Module]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the weights for Muon (hidden matrices and filters) and those for AdamW (all others)."""
    hidden, other = [], []
    for module in modules:
        tables = {table.weight for table in module.modules() if isinstance(table, nn.Embedding)}
        for name, weight in module.named_parameters():
            if not weight.requires_grad:
                continue
            edge = name.split(".")[-2:-1] in (["conv_in"], ["conv_out"]) or "quant_conv" in name
            matrix = weight.ndim >= 2 and min(weight.flatten(1).shape) > 1
            (hidden if matrix and not edge and weight not in tables else other).append(weight)
    return hidden, other
