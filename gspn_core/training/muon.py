"""Muon for the matrices and filters of a network: `torch.optim.Muon` on two-dimensional views.

After Jordan (2024, kellerjordan.github.io/posts/muon), scaled to AdamW's step size as in arXiv 2502.16982.
It needs fewer steps than AdamW to the same loss, which is worth the extra matrix products on a CPU.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class Muon(torch.optim.Muon):
    """Optimizes matrices (m, n) and convolution filters (m, i, kh, kw) as (m, kh·kw·i) or (m, i·kh·kw).

    torch's own accepts only matrices. The order of a filter's columns is that of its memory, so that it is a
    view; the orthogonalised update is the same in any order.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        self._weights = [*weights]
        matrices = [nn.Parameter(_as_matrix(weight.detach(), weight)) for weight in self._weights]
        super().__init__(
            matrices, lr=lr, momentum=momentum, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take one step along the orthogonalised Nesterov momentum.

        Raises:
            RuntimeError: a weight was moved to other memory, so that the step would not change it.
        """
        for weight, matrix in zip(self._weights, self.param_groups[0]["params"], strict=True):
            if weight.data_ptr() != matrix.data_ptr():
                raise RuntimeError(
                    "a weight was moved after its optimizer was made; make the optimizer last."
                )
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad, weight)
        super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of the weights and of their matrices."""
        super().zero_grad(set_to_none)
        for weight in self._weights:
            if set_to_none:
                weight.grad = None
            elif weight.grad is not None:
                weight.grad.zero_()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned, also by versions before torch's Muon was used."""
        (group,) = state_dict["param_groups"]
        states = {
            number: {"momentum_buffer": _as_matrix(state["momentum"], self._weights[number])}
            if "momentum" in state
            else state
            for number, state in state_dict["state"].items()
        }
        super().load_state_dict({"state": states, "param_groups": [{**self.defaults, **group}]})


def _as_matrix(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return a tensor (m, ...) of a weight's shape as (m, n), its columns in the weight's memory order.

    It is a view if the tensor has the weight's memory layout.
    """
    if tensor.ndim == 4 and not weight.is_contiguous():
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.reshape(len(tensor), -1)


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
