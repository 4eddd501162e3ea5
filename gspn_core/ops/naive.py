"""The line scan as its formula reads, in plain torch: the truth that other backends are tested against."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad, softmax

from gspn_core.ops.prepare import Scan


def forward(x: Tensor, gate: Tensor, logits: Tensor, scan: Scan, dtype: torch.dtype) -> Tensor:
    """Scan x (B, C, H, W) and return the states in dtype; arguments as `prepare` checked them."""
    x, gate, logits = x.to(scan.carry), gate.to(scan.carry), logits.to(scan.carry)
    along, across = (-1, -2) if scan.columns else (-2, -1)
    x, gate = x.unbind(along), gate.unbind(along)
    weights = neighbour_weights(logits, across=across).unbind(along)

    order = range(scan.lines - 1, -1, -1) if scan.backwards else range(scan.lines)
    lines = [x[0]] * scan.lines
    state = None
    for step, i in enumerate(order):
        if step % scan.chunk == 0:
            state = gate[i] * x[i]
        else:
            previous, same, following = weights[i].unbind(2)
            padded = pad(state, (1, 1))
            mixed = previous * padded[..., :-2] + same * state + following * padded[..., 2:]
            if scan.convex:
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
