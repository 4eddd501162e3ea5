"""Each way of saving memory draws the same picture, and leaves the model as it was found."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from diffusers.models.attention import FeedForward

from gspn_core.attention.registry import use_mixer
from gspn_core.cascade import offload as ways
from gspn_core.cascade.offload import chunked_feed_forward, float8_storage, group_offloaded, skips_on_host
from gspn_core.cascade.walk import run_cascade
from gspn_core.events import StageDone
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import MemoryOptions
from gspn_core.settings import Settings

EXACT = {
    "serial": MemoryOptions(serial_guidance=True),
    "small blocks": MemoryOptions(small_blocks=True),
    "skips on host": MemoryOptions(skips_on_host=True),
    "model offload": MemoryOptions(residency="model"),
    "group offload": MemoryOptions(residency="group"),
    "chunks": MemoryOptions(chunked_feed_forward=True),
    "all of them": MemoryOptions(
        residency="group",
        serial_guidance=True,
        chunked_feed_forward=True,
        small_blocks=True,
        skips_on_host=True,
    ),
}


def pictures(model, choices, mixer="attention"):
    ask = Settings(prompt="a b c", target=128, seed=3, num_inference_steps=2, mixer=mixer)
    plan = make_plan(ask, model.card)
    stages = tuple(dataclasses.replace(stage, choices=choices) for stage in plan.stages)
    plan = dataclasses.replace(plan, stages=stages)
    with torch.inference_mode():
        events = list(run_cascade(model, plan, lambda: False, None))
    return [np.asarray(event.image).astype(int) for event in events if isinstance(event, StageDone)]


def state_of(unet):
    return {
        name: (tensor.dtype, tensor.stride(), tensor.clone()) for name, tensor in unet.state_dict().items()
    }


@pytest.fixture(scope="module")
def plain_pictures():
    """Return what makes the pictures of a mixer without any option, once for all options."""
    made = {}

    def plain(model, mixer):
        if mixer not in made:
            made[mixer] = pictures(model, MemoryOptions(), mixer)
        return made[mixer]

    return plain


@pytest.mark.parametrize("mixer", ["attention", "gspn", "neighborhood", "linear"])
@pytest.mark.parametrize("way", EXACT)
def test_a_picture_stays_the_same_whatever_saves_the_memory(tiny_model, plain_pictures, way, mixer):
    plain, saving = plain_pictures(tiny_model, mixer), pictures(tiny_model, EXACT[way], mixer)
    for one, other in zip(plain, saving, strict=True):
        # Weights are random, so rounding differences grow through the layers, but no further than this.
        assert np.abs(one - other).max() <= 3
        assert np.abs(one - other).mean() < 0.2


@pytest.mark.parametrize("mixer", ["attention", "gspn"])
def test_weights_of_eight_bits_draw_nearly_the_same(tiny_model, plain_pictures, mixer):
    plain = plain_pictures(tiny_model, mixer)[-1]
    saving = pictures(tiny_model, MemoryOptions(float8_storage=True), mixer)[-1]
    assert 0 < np.abs(plain - saving).mean() < 8


@pytest.mark.parametrize("way", ["skips on host", "model offload", "group offload"])
def test_what_only_moves_memory_draws_the_same_bytes(tiny_model, way, monkeypatch):
    # Where weights move, no layers are joined; matrices of another width may round otherwise.
    monkeypatch.setattr(ways, "fused_layers", nullcontext)
    plain, moved = pictures(tiny_model, MemoryOptions()), pictures(tiny_model, EXACT[way])
    assert all(np.array_equal(one, other) for one, other in zip(plain, moved, strict=True))


@pytest.mark.parametrize("way", [*EXACT.values(), MemoryOptions(float8_storage=True)], ids=[*EXACT, "float8"])
def test_the_model_is_left_as_it_was_found(tiny_model, way):
    unet = tiny_model.pipeline.unet
    before, modules = state_of(unet), {name: type(module) for name, module in unet.named_modules()}
    pictures(tiny_model, way, "gspn")
    assert {name: type(module) for name, module in unet.named_modules()} == modules
    for name, (dtype, stride, values) in state_of(unet).items():
        assert (dtype, stride) == before[name][:2]
        assert torch.equal(values, before[name][2])
    for module in unet.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
        assert "_diffusers_hook" not in vars(module) or not module._diffusers_hook.hooks
        assert "forward" not in vars(module) or not isinstance(module, FeedForward)


def test_eight_bits_are_a_quarter_of_thirty_two_and_layers_see_them_in_full(tiny_model):
    unet = tiny_model.pipeline.unet
    seen = set()

    def note(layer, _args, _result):
        seen.add(layer.weight.dtype)

    layer = unet.down_blocks[1].resnets[0].conv1
    full = layer.weight.nbytes
    with torch.inference_mode(), float8_storage(unet):
        assert layer.weight.nbytes * 4 == full
        handle = layer.register_forward_hook(note, prepend=True)
        layer(torch.zeros(1, layer.in_channels, 8, 8))
        handle.remove()
        assert layer.weight.dtype == torch.float8_e4m3fn
    assert seen == {torch.float32}
    assert layer.weight.nbytes == full


@pytest.mark.parametrize("way", [chunked_feed_forward, skips_on_host, group_offloaded, float8_storage])
def test_what_fails_within_leaves_the_model_whole(tiny_model, way):
    unet = tiny_model.pipeline.unet
    before = state_of(unet)
    with pytest.raises(MemoryError), use_mixer(unet, "gspn", tiny_model.adapters), way(unet):
        raise MemoryError
    for name, (dtype, _, values) in state_of(unet).items():
        assert dtype == before[name][0] and torch.equal(values, before[name][2])


def test_a_chunk_holds_a_sixteenth_of_the_tokens(tiny_model):
    unet, lengths = tiny_model.pipeline.unet, []
    layer = next(module for module in unet.modules() if isinstance(module, FeedForward))
    handle = layer.net[0].register_forward_pre_hook(lambda _layer, args: lengths.append(args[0].shape[1]))
    with torch.inference_mode(), chunked_feed_forward(unet):
        layer(torch.zeros(1, 100, layer.net[-1].out_features))
    handle.remove()
    assert sum(lengths) == 100 and max(lengths) == 7
