"""Neighbourhood attention against masked full attention, and against a UNet's own at its training size."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch.nn.functional import scaled_dot_product_attention

from gspn_core.attention import neighborhood
from gspn_core.attention.adapter import self_attentions
from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.attention.neighborhood import (
    NeighborhoodProcessor,
    neighborhood_attention,
    patches,
    window_size,
)
from gspn_core.errors import BadTensor, GspnError, ModelUnavailable


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return Attention(query_dim=12, heads=3, dim_head=4).eval()


def run(attention, tokens, map_size, training_size, block_patches=None):
    processor = NeighborhoodProcessor(training_size)
    processor.map_size, processor.block_patches = map_size, block_patches
    with torch.no_grad():
        return processor(attention, tokens)


def masked(attention, tokens, map_size, window):
    """Attend with every pair of tokens, all but those of a query's own window masked out."""
    (H, W), (wh, ww) = map_size, window
    ph, pw = H if wh == H else (wh + 1) // 2, W if ww == W else (ww + 1) // 2
    seen = torch.zeros(H, W, H, W, dtype=torch.bool)
    for y in range(H):
        for x in range(W):
            top = min(max(0, y // ph * ph - (wh - ph) // 2), H - wh)
            left = min(max(0, x // pw * pw - (ww - pw) // 2), W - ww)
            seen[y, x, top : top + wh, left : left + ww] = True
    with torch.no_grad():
        q, k, v = (
            layer(tokens).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for layer in (attention.to_q, attention.to_k, attention.to_v)
        )
        out = scaled_dot_product_attention(q, k, v, attn_mask=seen.reshape(H * W, H * W))
        return attention.to_out[0](out.transpose(1, 2).flatten(2))


@pytest.mark.parametrize(
    ("map_size", "training_size", "window"),
    [
        ((16, 16), (8, 8), (8, 8)),
        ((32, 32), (16, 16), (16, 16)),
        ((12, 20), (8, 8), (6, 10)),
        ((13, 19), (6, 6), (7, 10)),
        ((21, 22), (6, 6), (6, 6)),
        ((7, 30), (5, 5), (2, 8)),
        ((1, 40), (3, 3), (1, 20)),
    ],
)
def test_output_is_full_attention_masked_to_each_patch_s_window(attention, map_size, training_size, window):
    assert window_size(map_size, training_size) == window
    tokens = torch.randn(2, map_size[0] * map_size[1], 12, generator=torch.Generator().manual_seed(1))
    wanted = masked(attention, tokens, map_size, window)
    with torch.no_grad():
        full = attention(tokens)
    assert (wanted - full).abs().max() > 1e-3
    torch.testing.assert_close(run(attention, tokens, map_size, training_size), wanted)


@pytest.mark.parametrize("map_size", [(11, 17), (16, 16)])
def test_patches_cover_every_token_once_and_lie_in_whole_windows_inside_the_map(map_size):
    window = window_size(map_size, (6, 6))
    count = torch.zeros(map_size)
    for patch in patches(map_size, window):
        bottom, right = patch.top + patch.height, patch.left + patch.width
        count[patch.top : bottom, patch.left : right] += 1
        assert 0 <= patch.window_top <= patch.top < bottom <= patch.window_top + window[0] <= map_size[0]
        assert 0 <= patch.window_left <= patch.left < right <= patch.window_left + window[1] <= map_size[1]
    assert count.eq(1).all()


@pytest.mark.parametrize("base", [(32, 32), (28, 40), (16, 56), (36, 32), (20, 48)])
def test_a_window_is_the_base_stage_s_whole_map_at_every_aspect_and_doubling(base):
    for scale in (1, 2, 4, 8, 16):
        assert window_size((scale * base[0], scale * base[1]), (32, 32)) == base


def test_a_small_map_is_one_window():
    assert window_size((3, 5), (32, 32)) == (3, 5)


@pytest.mark.parametrize("block_patches", [1, 2, 5, 1000])
def test_patches_at_once_do_not_change_the_output(attention, block_patches):
    tokens = torch.randn(2, 13 * 19, 12)
    wanted = run(attention, tokens, (13, 19), (6, 6))
    torch.testing.assert_close(run(attention, tokens, (13, 19), (6, 6), block_patches), wanted)


def test_cost_grows_with_the_pixels_and_memory_is_bounded(attention, monkeypatch):
    limit, calls = 40_000, []

    def counted(q, k, v):
        calls.append((4 * (2 * q.numel() + 2 * k.numel()), q.shape[0] * q.shape[2] * k.shape[2]))
        return scaled_dot_product_attention(q, k, v)

    monkeypatch.setattr(neighborhood, "scaled_dot_product_attention", counted)
    monkeypatch.setattr(neighborhood, "_BLOCK_BYTES", {"cpu": limit})
    pairs = []
    for side in (16, 32, 64):
        calls.clear()
        run(attention, torch.randn(1, side * side, 12), (side, side), (8, 8))
        assert limit / 2 < max(bytes_ for bytes_, _ in calls) <= limit
        pairs.append(sum(n for _, n in calls))
    assert pairs == [16 * 16 * 64, 32 * 32 * 64, 64 * 64 * 64]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 12), (12, 20), (20, 12)])
def test_a_unet_is_itself_at_its_training_area(unet, run_unet, height, width):
    before = run_unet(unet, height, width)
    with neighborhood_attention(unet):
        torch.testing.assert_close(run_unet(unet, height, width), before, atol=1e-5, rtol=1e-5)


def test_a_unet_differs_above_its_training_area_and_every_layer_sees_its_own_depth_s_window(unet, run_unet):
    before = run_unet(unet, 32, 48)
    with neighborhood_attention(unet) as processors:
        after = run_unet(unet, 32, 48)
        for name, processor in processors.items():
            shallow = name.startswith(("down_blocks.1", "up_blocks.1"))
            assert processor.training_size == ((8, 8) if shallow else (4, 4))
            assert processor.map_size == ((16, 24) if shallow else (8, 12))
    assert len(processors) == 11
    assert 1e-4 < (after - before).abs().max() < float("inf")


def test_a_sample_size_may_be_height_and_width(make_unet):
    with neighborhood_attention(make_unet(sample_size=(16, 24))) as processors:
        assert {processor.training_size for processor in processors.values()} == {(8, 12), (4, 6)}


def test_own_processors_and_no_hooks_come_back_when_the_block_raises(unet):
    before = {name: attention.processor for name, attention in self_attentions(unet).items()}
    with pytest.raises(RuntimeError, match="inside"), neighborhood_attention(unet) as processors:
        assert all(unet.get_submodule(name).processor is p for name, p in processors.items())
        raise RuntimeError("inside")
    assert all(unet.get_submodule(name).processor is processor for name, processor in before.items())
    assert not any(module._forward_pre_hooks for module in unet.modules())


def test_cross_attention_keeps_its_processor(unet):
    crosses = [module for name, module in unet.named_modules() if name.endswith(".attn2")]
    before = [cross.processor for cross in crosses]
    with neighborhood_attention(unet):
        assert [cross.processor for cross in crosses] == before


@pytest.mark.parametrize(
    ("map_size", "arguments", "words"),
    [
        (None, {}, "map_size of 12 tokens is unknown"),
        ((3, 5), {}, "map_size 3×5 must hold 12 tokens"),
        ((3, 4), {"attention_mask": torch.ones(1, 12)}, "pass None"),
        ((3, 4), {"encoder_hidden_states": torch.ones(1, 5, 12)}, "pass None"),
    ],
)
def test_what_it_cannot_attend_to_is_refused(attention, map_size, arguments, words):
    processor = NeighborhoodProcessor((2, 2))
    processor.map_size = map_size
    with pytest.raises(BadTensor, match=words):
        processor(attention, torch.zeros(1, 12, 12), **arguments)


def test_injected_mixers_are_refused(unet):
    with (
        GSPNAdapter.construct_for(unet).injected(),
        pytest.raises(GspnError, match="needs an Attention at down_blocks.1.*got GSPNMixer"),
        neighborhood_attention(unet),
    ):
        pass


def test_a_unet_that_does_not_say_its_training_size_is_refused(make_unet):
    with (
        pytest.raises(ModelUnavailable, match="has no sample_size"),
        neighborhood_attention(make_unet(sample_size=None)),
    ):
        pass
