"""The line scan as its formula reads, in plain torch: the truth that other backends are tested against."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad, softmax


def forward(
    x: Tensor,
    gate: Tensor,
    logits: Tensor,
    direction: str,
    chunk_size: int | None,
    gating: str,
    dtype: torch.dtype,
) -> Tensor:
    """Scan x (B, C, H, W) and return the states in dtype; arguments as `line_scan` checked them."""
    carry = torch.float64 if x.dtype == torch.float64 else torch.float32
    x, gate, logits = x.to(carry), gate.to(carry), logits.to(carry)
    along = -1 if direction in ("right", "left") else -2
    x, gate = x.unbind(along), gate.unbind(along)
    weights = neighbour_weights(logits, across=-2 if along == -1 else -1).unbind(along)

    order = range(len(x)) if direction in ("right", "down") else range(len(x) - 1, -1, -1)
    lines = [x[0]] * len(x)
    state = None
    for step, i in enumerate(order):
        restart = step == 0 if chunk_size is None else step % chunk_size == 0
        if restart:
            state = gate[i] * x[i]
        else:
            previous, same, following = weights[i].unbind(2)
            padded = pad(state, (1, 1))
            mixed = previous * padded[..., :-2] + same * state + following * padded[..., 2:]
            if gating == "convex":
                mixed = (1 - gate[i]) * mixed
            state = mixed + gate[i] * x[i]
        lines[i] = state
    return torch.stack(lines, along).to(dtype)


def neighbour_weights(logits: Tensor, *, across: int) -> Tensor:
    """Divide sigmoid(logits) by its sum over the neighbours that exist, along dimension 2 of (B, C, 3, H, W).

    `across` is the dimension along a line, -1 or -2. The softmax of log-sigmoids is the same quotient, and
    does not divide zero by zero when all three logits are far below zero.
    """
    scores = logsigmoid(logits).transpose(across, -1)
    missing = torch.zeros(3, scores.shape[-1], dtype=torch.bool, device=logits.device)
    missing[0, 0] = missing[2, -1] = True
    return softmax(scores.masked_fill(missing[:, None, :], -torch.inf), dim=2).transpose(across, -1)
