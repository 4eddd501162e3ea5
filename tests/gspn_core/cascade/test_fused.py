"""The joined layers are the layers that they stand for, in real diffusers classes."""

import copy
import math
from contextlib import contextmanager

import pytest
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import nn
from torch.profiler import ProfilerActivity, profile

from gspn_core.cascade import fused
from gspn_core.cascade.fused import fused_layers
from gspn_core.controls.dilated_branch import dilated
from gspn_core.ops import norm
from gspn_core.runtime.device import pick_dtype

HAS_BFLOAT16 = pick_dtype("auto", torch.device("cpu")) == torch.bfloat16
needs_bfloat16 = pytest.mark.skipif(not HAS_BFLOAT16, reason="this CPU computes in float32")


def _residual(channels_out):
    block = ResnetBlock2D(in_channels=32, out_channels=channels_out, temb_channels=24, groups=8)
    return block, (torch.randn(2, 32, 20, 12), torch.randn(2, 24))


def _transformer():
    block = Transformer2DModel(
        2, 16, in_channels=32, cross_attention_dim=40, norm_num_groups=8, use_linear_projection=True
    )
    return block, (torch.randn(2, 32, 20, 12).contiguous(memory_format=torch.channels_last),)


def _copied(call):
    """Return how many numbers a call copies from one place of the memory to another."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as record:
        call()
    copies = [event.input_shapes[0] for event in record.events() if event.name == "aten::copy_"]
    return sum(math.prod(shape) for shape in copies)


LAYERS = {
    "projection": lambda: (nn.Linear(32, 48), (torch.randn(2, 70, 32),)),
    "residual block": lambda: _residual(32),
    "residual block with a shortcut": lambda: _residual(48),
    "feed-forward": lambda: (FeedForward(32, activation_fn="geglu"), (torch.randn(2, 70, 32),)),
    "cross-attention": lambda: (
        Attention(query_dim=32, cross_attention_dim=40, heads=2, dim_head=16),
        (torch.randn(2, 70, 32), torch.randn(2, 77, 40)),
    ),
}


def _error(found, truth):
    return ((found.float() - truth).norm() / truth.norm()).item()


FLOAT32_LAYERS = {
    "projection": LAYERS["projection"],
    "feed-forward": LAYERS["feed-forward"],
    # Large enough for the kernel of the normalization.
    "residual block": lambda: _large_residual(32, 24),
    "residual block with a shortcut": lambda: _large_residual(48, 24),
    "residual block of an autoencoder": lambda: _large_residual(48, None),
    "upsampler": lambda: (Upsample2D(32, use_conv=True), (torch.randn(2, 32, 20, 17),)),
    "upsampler to other channels": lambda: (
        Upsample2D(32, use_conv=True, out_channels=16), (torch.randn(1, 32, 16, 16),),
    ),
}  # fmt: skip


def _large_residual(channels_out, temb_channels):
    block = ResnetBlock2D(
        in_channels=32,
        out_channels=channels_out,
        temb_channels=temb_channels,
        groups=8,
        time_embedding_norm="group" if temb_channels is None else "default",
    )
    return block, (torch.randn(2, 32, 40, 33), None if temb_channels is None else torch.randn(2, 24))


@pytest.mark.parametrize("name", FLOAT32_LAYERS)
@torch.inference_mode()
def test_a_joined_layer_in_float32_is_as_near_to_float64_as_the_plain_one(name, monkeypatch):
    # Small maps take the ways of large ones.
    monkeypatch.setattr(norm, "_LEAST_NUMBERS", 1 << 15)
    monkeypatch.setattr(fused, "_CACHED_NUMBERS", 1 << 12)
    torch.manual_seed(0)
    layer, inputs = FLOAT32_LAYERS[name]()
    layer = layer.eval().to(memory_format=torch.channels_last)
    inputs = [
        x.contiguous(memory_format=torch.channels_last) if x is not None and x.ndim == 4 else x
        for x in inputs
    ]
    truth = copy.deepcopy(layer).double()(*(None if x is None else x.double() for x in inputs))
    plain = layer(*inputs)
    kept = [None if x is None else x.clone() for x in inputs]
    with fused_layers(layer):
        assert "forward" in vars(layer)
        joined = layer(*inputs)
    assert "forward" not in vars(layer)
    assert all(x is None or torch.equal(x, y) for x, y in zip(inputs, kept, strict=True))
    assert joined.shape == truth.shape and joined.dtype == torch.float32
    assert (joined - truth).norm() / truth.norm() <= 1.2 * (plain - truth).norm() / truth.norm() + 1e-7


@torch.inference_mode()
def test_a_dilated_or_small_upsampler_is_the_plain_one():
    torch.manual_seed(0)
    layer = nn.Sequential(Upsample2D(16, use_conv=True)).eval()
    for side, dilation in ((20, 2), (8, 1)):
        x = torch.randn(1, 16, side, side)
        with dilated_convolutions(layer, dilation):
            plain = layer(x)
            with fused_layers(layer):
                assert torch.equal(layer(x), plain)
    x = torch.randn(1, 16, 20, 20)
    plain = layer[0](x, (39, 39))
    with fused_layers(layer):
        assert torch.equal(layer[0](x, (39, 39)), plain)


@contextmanager
def dilated_convolutions(layer, factor):
    convs = [m for m in layer.modules() if isinstance(m, nn.Conv2d)]
    for conv in convs:
        conv.dilation = conv.padding = (factor, factor)
    yield
    for conv in convs:
        conv.dilation = conv.padding = (1, 1)


def _predict(model, text):
    """Return what a UNet makes of latents, or an autoencoder of decoding and encoding them."""
    latents = torch.linspace(-1, 1, 4 * 64 * 64).view(1, 4, 64, 64).to(model.dtype)
    if hasattr(model, "decode"):
        return model.encode(model.decode(latents).sample).latent_dist.mode()
    return model(
        latents.expand(2, -1, -1, -1).contiguous(memory_format=torch.channels_last),
        torch.tensor(300.0),
        encoder_hidden_states=text.prompt_embeds.to(model.dtype),
        added_cond_kwargs={
            "text_embeds": text.pooled_prompt_embeds.to(model.dtype),
            "time_ids": text.add_time_ids.to(model.dtype),
        },
        return_dict=False,
    )[0]


@pytest.mark.parametrize("part", ["unet", "vae"])
@torch.inference_mode()
def test_a_whole_model_in_float32_does_the_same_and_is_left_as_it_was(tiny_pipeline, tiny_conditioning, part):
    model = copy.deepcopy(getattr(tiny_pipeline, part)).to(memory_format=torch.channels_last).eval()
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    plain = _predict(model, tiny_conditioning)
    truth = _predict(copy.deepcopy(model).double(), tiny_conditioning)
    with fused_layers(model):
        assert sum("forward" in vars(module) for module in model.modules()) > 3
        assert "forward" in vars(getattr(model, "decoder", model).conv_norm_out)
        joined = _predict(model, tiny_conditioning)
    assert not torch.equal(joined, plain)
    assert (joined - truth).norm() <= 1.2 * (plain - truth).norm()
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before


@needs_bfloat16
@pytest.mark.parametrize("name", LAYERS)
@torch.inference_mode()
def test_a_joined_layer_is_as_near_to_float32_as_the_plain_one(name):
    torch.manual_seed(0)
    layer, inputs = LAYERS[name]()
    layer.eval()
    truth = layer(*inputs)
    half = copy.deepcopy(layer).to(torch.bfloat16, memory_format=torch.channels_last)
    inputs = [x.bfloat16() for x in inputs]
    plain = half(*inputs)
    with fused_layers(half):
        assert "forward" in vars(half)
        joined = half(*inputs)
    assert "forward" not in vars(half)
    assert joined.shape == truth.shape and joined.dtype == torch.bfloat16
    assert 0 < _error(joined, truth) <= 1.05 * _error(plain, truth) < 0.02


@needs_bfloat16
def test_a_whole_unet_predicts_the_same_dilated_too_and_is_left_as_it_was(tiny_pipeline, tiny_conditioning):
    unet = copy.deepcopy(tiny_pipeline.unet).to(torch.bfloat16, memory_format=torch.channels_last).eval()
    before = {name: set(vars(module)) for name, module in unet.named_modules()}
    conditioning = tiny_conditioning

    def predict(unet):
        text, pooled = (
            x.to(unet.dtype) for x in (conditioning.prompt_embeds, conditioning.pooled_prompt_embeds)
        )
        return unet(
            torch.linspace(-1, 1, 4 * 16 * 16).view(1, 4, 16, 16).to(unet.dtype).expand(2, -1, -1, -1),
            torch.tensor(300.0),
            encoder_hidden_states=text,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": conditioning.add_time_ids},
            return_dict=False,
        )[0].float()

    with torch.inference_mode():
        for dilation in (1, 2):
            with dilated(tiny_pipeline.unet, dilation, "down"):
                truth = predict(tiny_pipeline.unet)
            with dilated(unet, dilation, "down"):
                plain = predict(unet)
                with fused_layers(unet):
                    changed = sum("forward" in vars(module) for module in unet.modules())
                    joined = predict(unet)
            assert changed > 3
            assert 0 < _error(joined, truth) <= 1.2 * _error(plain, truth) < 0.1
    assert {name: set(vars(module)) for name, module in unet.named_modules()} == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_training_keeps_its_own_layers(dtype):
    unit = FeedForward(16, activation_fn="geglu").to(dtype)
    with torch.set_grad_enabled(True), fused_layers(nn.Sequential(unit).eval()):
        assert "forward" not in vars(unit)


@torch.inference_mode()
def test_a_layer_that_runs_in_another_way_already_keeps_it():
    unit = FeedForward(16, activation_fn="geglu").to(torch.bfloat16).eval()
    unit.forward = other = lambda hidden_states: hidden_states
    with fused_layers(unit):
        assert unit.forward is other
    assert unit.forward is other


@torch.inference_mode()
def test_a_layer_with_an_option_that_is_not_known_is_left_alone():
    unit = FeedForward(16, activation_fn="gelu").to(torch.bfloat16).eval()
    with fused_layers(unit):
        assert "forward" not in vars(unit)


@torch.inference_mode()
def test_a_map_keeps_its_channels_last_through_a_transformer_with_the_same_numbers():
    torch.manual_seed(0)
    block, (sample,) = _transformer()
    block.eval()
    text = torch.randn(2, 7, 40)
    plain = block(sample, encoder_hidden_states=text).sample
    with fused_layers(block):
        kept = block(sample, encoder_hidden_states=text).sample
        copied = _copied(lambda: block(sample, encoder_hidden_states=text))
    assert not plain.is_contiguous(memory_format=torch.channels_last)
    assert kept.is_contiguous(memory_format=torch.channels_last)
    # Its projections are joined, too, and round otherwise.
    assert _error(kept, plain) < 1e-6
    assert sum("_get_output" in name for name in vars(block)) == 0
    assert copied < _copied(lambda: block(sample, encoder_hidden_states=text))


@needs_bfloat16
@torch.inference_mode()
def test_a_whole_call_copies_hardly_a_map(tiny_pipeline, tiny_conditioning):
    unet = copy.deepcopy(tiny_pipeline.unet).to(torch.bfloat16, memory_format=torch.channels_last)
    text = tiny_conditioning

    def call():
        unet(
            torch.randn(2, 4, 32, 32).bfloat16(),
            torch.tensor(300.0),
            encoder_hidden_states=text.prompt_embeds.bfloat16(),
            added_cond_kwargs={
                "text_embeds": text.pooled_prompt_embeds.bfloat16(),
                "time_ids": text.add_time_ids.bfloat16(),
            },
        )

    before = _copied(call)
    with fused_layers(unet):
        call()
        assert _copied(call) < before / 3
