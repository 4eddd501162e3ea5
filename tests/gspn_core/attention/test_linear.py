"""Linear attention: its formula, what it keeps, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from gspn_core.attention.linear import LinearMixer
from gspn_core.errors import BadSetting, BadTensor


@pytest.fixture
def mixer() -> LinearMixer:
    torch.manual_seed(0)
    return LinearMixer(12, 3, 5).requires_grad_(False)


def tokens(count: int, B: int = 2) -> torch.Tensor:
    return torch.randn(B, count, 12, generator=torch.Generator().manual_seed(count))


def naive(mixer: LinearMixer, x: torch.Tensor) -> torch.Tensor:
    """The formula token by token and head by head, in float64."""
    mixer, x = mixer.double(), x.double()
    B, N, C = x.shape
    width = C // mixer.heads
    q = torch.nn.functional.elu(mixer.to_q(x + mixer.to_q_(x))) + 1
    k = torch.nn.functional.elu(mixer.to_k(x + mixer.to_k_(x))) + 1
    v = mixer.to_v(x)
    mixed = torch.empty_like(x)
    for b in range(B):
        for first in range(0, C, width):
            head = slice(first, first + width)
            for i in range(N):
                weights = torch.stack([q[b, i, head] @ k[b, j, head] for j in range(N)])
                sums = sum(weight * v[b, j, head] for j, weight in enumerate(weights))
                mixed[b, i, head] = sums / N / (weights.mean() + 1e-4)
    return mixer.to_out[0](mixed)


@pytest.mark.parametrize("count", [1, 2, 7, 31])
def test_it_agrees_with_the_formula_token_by_token(mixer, count):
    x = tokens(count)
    got = mixer(x)
    torch.testing.assert_close(got.double(), naive(mixer, x), rtol=1e-4, atol=1e-5)


def test_tokens_in_another_order_give_the_same_in_that_order(mixer):
    x, order = tokens(17), torch.randperm(17, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(mixer(x)[:, order], mixer(x[:, order]), rtol=1e-4, atol=1e-5)


def test_a_map_repeated_four_times_mixes_as_before(mixer):
    x = tokens(9)
    torch.testing.assert_close(mixer(x.repeat(1, 4, 1))[:, :9], mixer(x), rtol=1e-4, atol=1e-5)


def test_half_precision_stays_near_float32_over_many_tokens(mixer):
    x = tokens(4096, B=1)
    wanted = mixer(x)
    got = mixer.bfloat16()(x.bfloat16()).float()
    assert (got - wanted).norm() / wanted.norm() < 0.02


def test_gradients_reach_the_input_and_every_parameter(mixer):
    mixer.requires_grad_(True)
    x = tokens(6).requires_grad_()
    mixer(x).square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in mixer.parameters())


def test_what_it_cannot_take_is_refused(mixer):
    with pytest.raises(BadTensor, match="must be"):
        mixer(torch.zeros(2, 5, 11))
    with pytest.raises(BadTensor, match="encoder_hidden_states"):
        mixer(tokens(3), tokens(3))
    with pytest.raises(BadSetting, match="heads must divide 12 channels, got 5"):
        LinearMixer(12, 5, 4)
