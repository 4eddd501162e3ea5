"""The GSPN mixer against its formula, and what keeps its scale over map sizes."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch.nn.functional import linear

from gspn_core.attention.gspn import GSPNConfig, GSPNMixer
from gspn_core.errors import BadSetting, BadTensor
from gspn_core.ops import line_scan, merge_line_scan
from gspn_core.ops.prepare import DIRECTIONS

SHARED = ("all", "heads", "none")


def make_mixer(config=None, *, seed=0):
    """Return a mixer whose every parameter is random, so that no term can hide behind a zero."""
    torch.manual_seed(seed)
    mixer = GSPNMixer(24, heads=3, config=config)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return mixer


def tokens_for(H, W, *, batch=2, seed=1):
    return torch.randn(batch, H * W, 24, generator=torch.Generator().manual_seed(seed))


def formula(mixer, tokens, H, W):
    """The docstring's equations at full width: per direction one linear layer, one naive scan."""
    B, N, _C = tokens.shape
    V, sets = mixer.scan_channels, mixer.weight_sets
    proxy = linear(tokens, mixer.to_proxy.weight, mixer.to_proxy.bias)
    value = linear(tokens, mixer.to_value.weight)
    y = mixer.skip(proxy).mT * value.mT
    for direction in DIRECTIONS:
        expanded = mixer.expand[direction](proxy).mT
        logits, gate, u = expanded.split((3 * sets, V, V), 1)
        logits = logits.reshape(B, sets, 1, 3, H, W).expand(-1, -1, V // sets, -1, -1, -1)
        gate = gate.reshape(B, V, H, W)
        if mixer.config.gating == "convex":
            gate = gate.sigmoid()
            chunk = mixer.config.chunk_size or max(H, W)
            for start in range(0, W if direction in ("right", "left") else H, chunk):
                if direction == "right":
                    gate[..., start] = 1
                elif direction == "left":
                    gate[..., W - 1 - start] = 1
                elif direction == "down":
                    gate[..., start, :] = 1
                else:
                    gate[..., H - 1 - start, :] = 1
        state = line_scan(
            value.mT.reshape(B, V, H, W), gate, logits.reshape(B, V, 3, H, W), direction=direction,
            chunk_size=mixer.config.chunk_size, gating=mixer.config.gating, backend="naive",
        )  # fmt: skip
        y = y + u * state.reshape(B, V, N)
    return mixer.to_out(y.mT)


@pytest.mark.parametrize("shared_weights", SHARED)
@pytest.mark.parametrize("gating", ["free", "convex"])
@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize("scan_ratio", [1, 2])
@torch.no_grad()
def test_mixer_is_its_formula(shared_weights, gating, chunk_size, scan_ratio):
    config = GSPNConfig(
        proxy_ratio=4,
        scan_ratio=scan_ratio,
        shared_weights=shared_weights,
        gating=gating,
        chunk_size=chunk_size,
    )
    mixer = make_mixer(config)
    tokens = tokens_for(6, 9)
    got, wanted = mixer(tokens, map_size=(6, 9)), formula(mixer, tokens, 6, 9)
    assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


@pytest.mark.parametrize("shared_weights", SHARED)
@torch.no_grad()
def test_channel_blocks_give_the_same_numbers(shared_weights):
    mixer = make_mixer(GSPNConfig(shared_weights=shared_weights))
    tokens = tokens_for(5, 7)
    whole = mixer(tokens, map_size=(5, 7))
    for block_channels in (1, 8, 16):
        mixer.block_channels = block_channels
        assert torch.allclose(mixer(tokens, map_size=(5, 7)), whole, rtol=1e-5, atol=1e-6)


def test_channel_blocks_bound_what_exists_at_once(monkeypatch):
    mixer = make_mixer()
    mixer.block_channels = 4
    seen = []

    def watch(y, share, x, gate, logits, **options):
        seen.append((gate.numel(), logits.numel()))
        return merge_line_scan(y, share, x, gate, logits, **options)

    monkeypatch.setattr("gspn_core.attention.gspn.merge_line_scan", watch)
    with torch.no_grad():
        mixer(tokens_for(5, 7), map_size=(5, 7))
    # Three heads of four scanned channels, four directions, batch 2, 35 pixels.
    assert seen == [(2 * 4 * 35, 2 * 3 * 35)] * 12


@pytest.mark.parametrize("shared_weights", SHARED)
def test_every_parameter_gets_a_gradient(shared_weights):
    mixer = make_mixer(GSPNConfig(shared_weights=shared_weights))
    mixer(tokens_for(4, 6), map_size=(4, 6)).square().sum().backward()
    for name, parameter in mixer.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_scale_of_the_convex_form_does_not_depend_on_the_map_size():
    mixer = make_mixer()
    token = tokens_for(1, 1, batch=1)
    small = mixer(token.expand(1, 8 * 8, -1), map_size=(8, 8))
    large = mixer(token.expand(1, 96 * 64, -1), map_size=(96, 64))
    # A map of equal tokens stays one, whatever its size: every state is a weighted mean of equal values.
    assert torch.allclose(small, small[:, :1].expand_as(small), rtol=1e-4, atol=1e-4)
    assert torch.allclose(large, small[:, :1].expand_as(large), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_height_and_width_are_not_interchangeable():
    mixer = make_mixer()
    tokens = tokens_for(4, 9)
    assert not torch.allclose(mixer(tokens, map_size=(4, 9)), mixer(tokens, map_size=(9, 4)), atol=1e-3)


@torch.no_grad()
def test_new_mixer_adds_nothing():
    assert GSPNMixer(24, heads=3)(tokens_for(4, 4), map_size=(4, 4)).eq(0).all()


@torch.no_grad()
def test_mixer_made_from_attention_starts_with_its_projections_and_calm():
    torch.manual_seed(0)
    attention = Attention(24, heads=3, dim_head=8)
    mixer = GSPNMixer.from_attention(attention, GSPNConfig(scan_ratio=1))
    assert torch.equal(mixer.to_value.weight, attention.to_v.weight)
    assert torch.equal(mixer.to_out.weight, attention.to_out[0].weight)
    assert torch.equal(mixer.to_out.bias, attention.to_out[0].bias)
    # Mixing equal tokens, softmax attention returns the projected value; so does the mean of four scans.
    equal = tokens_for(1, 1, batch=1).expand(1, 30, -1)
    got, wanted = mixer(equal, map_size=(5, 6)), attention(equal)
    assert (got - wanted).abs().max() < 0.5 * wanted.abs().max()


@torch.no_grad()
def test_fewer_scanned_channels_start_with_the_best_part_of_each_head():
    torch.manual_seed(0)
    attention = Attention(24, heads=3, dim_head=8)
    whole = attention.to_out[0].weight @ attention.to_v.weight
    errors = []
    for scan_ratio in (1, 2, 4):
        mixer = GSPNMixer.from_attention(attention, GSPNConfig(scan_ratio=scan_ratio))
        errors.append((mixer.to_out.weight @ mixer.to_value.weight - whole).norm().item())
    tails = []
    for kept in (8, 4, 2):
        heads = zip(attention.to_out[0].weight.chunk(3, 1), attention.to_v.weight.chunk(3), strict=True)
        parts = [torch.linalg.svd(output @ value) for output, value in heads]
        tails.append(sum((u[:, kept:8] * s[kept:8]) @ v[kept:8] for u, s, v in parts).norm().item())
    assert errors == pytest.approx(tails, abs=1e-4)
    assert errors[0] < 1e-5 < errors[1] < errors[2]


def test_mixer_made_from_attention_has_its_dtype_and_width():
    attention = Attention(24, heads=2, dim_head=6).to(torch.float64)
    mixer = GSPNMixer.from_attention(attention)
    tokens = tokens_for(3, 5).double()
    assert mixer(tokens, map_size=(3, 5)).dtype == torch.float64
    assert mixer.scan_channels == 6


@torch.no_grad()
def test_half_precision_stays_near_single():
    mixer = make_mixer()
    tokens = tokens_for(6, 5)
    wanted = mixer(tokens, map_size=(6, 5))
    got = mixer.to(torch.bfloat16)(tokens.bfloat16(), map_size=(6, 5))
    assert got.dtype == torch.bfloat16
    assert (got - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_autocast_trains():
    mixer = make_mixer()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = mixer(tokens_for(4, 6), map_size=(4, 6)).float().square().mean()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in mixer.parameters())


def test_unknown_map_size_is_refused():
    with pytest.raises(BadTensor, match="map_size of 12 tokens is unknown"):
        GSPNMixer(24, heads=3)(tokens_for(3, 4))


def test_map_size_of_another_token_count_is_refused():
    with pytest.raises(BadTensor, match="map_size 3×5 must hold 12 tokens"):
        GSPNMixer(24, heads=3)(tokens_for(3, 4), map_size=(3, 5))


@pytest.mark.parametrize("name", ["encoder_hidden_states", "attention_mask"])
def test_what_a_scan_cannot_use_is_refused(name):
    with pytest.raises(BadTensor, match=name):
        GSPNMixer(24, heads=3)(tokens_for(3, 4), **{name: torch.ones(2, 1, 24)}, map_size=(3, 4))


def test_only_an_attention_can_be_replaced():
    with pytest.raises(BadSetting, match="needs a self-attention to replace, got GSPNMixer"):
        GSPNMixer.from_attention(GSPNMixer(24, heads=3))


def test_layer_that_is_more_than_self_attention_is_refused():
    for layer in (
        Attention(24, cross_attention_dim=8, heads=3),
        Attention(24, heads=3, residual_connection=True),
    ):
        with pytest.raises(BadSetting, match="plain self-attention"):
            GSPNMixer.from_attention(layer)


@pytest.mark.parametrize(
    "change",
    [{"proxy_ratio": 0}, {"scan_ratio": 1.5}, {"chunk_size": 0}, {"gating": "x"}, {"shared_weights": "x"}],
)
def test_config_names_the_field_it_refuses(change):
    with pytest.raises(BadSetting, match=next(iter(change))):
        GSPNConfig(**change)


def test_scan_channels_that_heads_do_not_divide_are_refused():
    with pytest.raises(BadSetting, match="multiple of the 3 heads, got 4"):
        GSPNMixer(24, heads=3, config=GSPNConfig(scan_ratio=6))
