"""Generalized linear attention (LinFusion, arXiv 2409.02097): a global mixer, its cost linear in the tokens.

q = elu(W_q(x + f_q(x))) + 1        k = elu(W_k(x + f_k(x))) + 1        v = W_v x
y = q (kᵀ v / N) / (q · mean_N(k) + ε)                                   per head, N tokens
out = to_out(y)

f is a small network of two layers. The normalisation by the mean of the keys lets a model that learnt on one
number of tokens run on another (section 3.2). Knows nothing of UNets or of files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from gspn_core.errors import BadSetting, BadTensor

_EPSILON = 1e-4


class LinearMixer(nn.Module):
    """Linear attention in the place of a self-attention; its parameters have the published weights' names.

    Args:
        channels: C, in and out.
        heads: must divide channels.
        hidden_channels: width of f's hidden layer.

    Raises:
        BadSetting: heads that do not divide the channels.
    """

    def __init__(self, channels: int, heads: int, hidden_channels: int) -> None:
        super().__init__()
        if channels % heads:
            raise BadSetting("heads", f"heads must divide {channels} channels, got {heads}.")
        self.channels, self.heads = channels, heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        # The second entry stands where a diffusers attention has its dropout.
        self.to_out = nn.ModuleList([nn.Linear(channels, channels), nn.Identity()])
        self.to_q_ = _shift_network(channels, hidden_channels)
        self.to_k_ = _shift_network(channels, hidden_channels)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: object,
    ) -> Tensor:
        """Return hidden_states (B, N, C) mixed over all N tokens.

        Raises:
            BadTensor: another number of channels, or an argument that must be None.
        """
        if encoder_hidden_states is not None or attention_mask is not None:
            raise BadTensor("linear takes no encoder_hidden_states or attention_mask; pass None.")
        if hidden_states.ndim != 3 or hidden_states.shape[2] != self.channels:
            raise BadTensor(
                f"hidden_states must be (B, N, {self.channels}), got {tuple(hidden_states.shape)}."
            )
        query = self._features(self.to_q(hidden_states + self.to_q_(hidden_states)))
        key = self._features(self.to_k(hidden_states + self.to_k_(hidden_states)))
        return self.to_out[0](_mix(query, key, self._split(self.to_v(hidden_states))))

    def _features(self, projected: Tensor) -> Tensor:
        return elu(self._split(projected)) + 1

    def _split(self, tokens: Tensor) -> Tensor:
        """Return (B, heads, N, C/heads) of (B, N, C)."""
        B, N, _C = tokens.shape
        return tokens.view(B, N, self.heads, -1).transpose(1, 2)


def _mix(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return (B, N, C) of features and values (B, heads, N, C/heads).

    The mean over the tokens is taken in float32, where a million of them still add up; both factors of kᵀv
    carry 1/√N, so that half precision does not overflow on the way.
    """
    B, heads, N, width = query.shape
    scale = N**-0.5
    context = (key * scale).transpose(-2, -1) @ (value * scale)
    weight = query @ key.mean(dim=-2, keepdim=True, dtype=torch.float32).to(query.dtype).transpose(-2, -1)
    mixed = query @ context / (weight + _EPSILON)
    return mixed.transpose(1, 2).reshape(B, N, heads * width)


def _shift_network(channels: int, hidden_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, hidden_channels),
        nn.LayerNorm(hidden_channels),
        nn.LeakyReLU(),
        nn.Linear(hidden_channels, channels),
    )
