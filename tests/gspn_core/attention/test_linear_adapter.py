"""The published layout of LinFusion's weights: names, shapes, size, and what does not fit."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from gspn_core.attention.adapter import self_attentions
from gspn_core.attention.linear_adapter import CONFIG_FILE, WEIGHTS_FILE, LinearAdapter
from gspn_core.errors import AdapterMismatch, ModelUnavailable

# What one attention's tensors are called in the published file, after the number of the attention.
PUBLISHED = {
    "to_q.weight",
    "to_k.weight",
    "to_v.weight",
    "to_out.0.weight",
    "to_out.0.bias",
    *(
        f"{shift}.{layer}.{kind}"
        for shift in ("to_q_", "to_k_")
        for layer in (0, 1, 3)
        for kind in ("weight", "bias")
    ),
}
SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


@pytest.fixture
def folder(unet, tmp_path):
    torch.manual_seed(7)
    LinearAdapter.construct_for(unet).save(tmp_path)
    return tmp_path


def test_the_layout_is_the_published_one(unet, folder):
    names = list(self_attentions(unet))
    modules = json.loads((folder / CONFIG_FILE).read_text())["modules_list"]
    assert [module["module_name"] for module in modules] == names
    assert set(modules[0]) == {"module_name", "dim_n", "heads", "projection_mid_dim"}
    tensors = load_file(folder / WEIGHTS_FILE)
    assert set(tensors) == {f"{number}.{name}" for number in range(len(names)) for name in PUBLISHED}


def test_for_sdxl_it_has_the_size_of_the_published_file():
    with torch.device("meta"):
        adapter = LinearAdapter.construct_for(UNet2DConditionModel(**SDXL))
    assert len(adapter.mixers) == 70
    half_precision_bytes = 2 * sum(tensor.numel() for tensor in adapter.state_dict().values())
    assert half_precision_bytes == pytest.approx(871e6, rel=0.002)


def test_what_was_saved_runs_in_another_unet_of_the_same_shape(unet, make_unet, run_unet, folder):
    before = run_unet(unet)
    adapter = LinearAdapter.load(folder, unet)
    assert adapter.trained
    with adapter.injected():
        first = run_unet(unet)
    assert not torch.equal(first, before)
    with LinearAdapter.load(folder, unet).injected():
        assert torch.equal(run_unet(unet), first)
    assert torch.equal(run_unet(unet), before)
    assert len(LinearAdapter.load(folder, make_unet(seed=5)).mixers) == len(adapter.mixers)


def test_the_order_of_the_list_decides_and_not_that_of_the_unet(unet, run_unet, folder):
    with LinearAdapter.load(folder, unet).injected():
        wanted = run_unet(unet)
    config = json.loads((folder / CONFIG_FILE).read_text())
    tensors, count = load_file(folder / WEIGHTS_FILE), len(config["modules_list"])
    config["modules_list"].reverse()
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    turned = {f"{count - 1 - int(key.split('.')[0])}.{key.split('.', 1)[1]}": t for key, t in tensors.items()}
    save_file(turned, folder / WEIGHTS_FILE)
    with LinearAdapter.load(folder, unet).injected():
        assert torch.equal(run_unet(unet), wanted)


def test_it_takes_the_unets_dtype(unet, folder):
    adapter = LinearAdapter.load(folder, unet.bfloat16())
    assert {p.dtype for p in adapter.parameters()} == {torch.bfloat16}


def change(folder, edit) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    edit(config["modules_list"])
    (folder / CONFIG_FILE).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda modules: modules[0].update(module_name="nowhere.attn1"), "weights for nowhere.attn1"),
        (lambda modules: modules[0].update(dim_n=64), "64 channels in 4 heads"),
        (lambda modules: modules[0].update(heads=2), "in 2 heads"),
        (lambda modules: modules[0].update(projection_mid_dim=3), "does not fit this UNet"),
        (lambda modules: modules.pop(), "has no weights for"),
    ],
)
def test_weights_of_another_unet_are_refused_with_what_differs(unet, folder, edit, said):
    change(folder, edit)
    with pytest.raises(AdapterMismatch, match=said):
        LinearAdapter.load(folder, unet)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"modules_list": [3]}', '{"modules_list": [{"dim_n": -1}]}']
)
def test_a_config_of_something_else_is_refused(unet, folder, content):
    (folder / CONFIG_FILE).write_text(content)
    with pytest.raises(ModelUnavailable):
        LinearAdapter.load(folder, unet)


def test_missing_and_cut_off_weights_are_refused(unet, folder):
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelUnavailable, match="no readable linear-attention weights"):
        LinearAdapter.load(folder, unet)
    weights.unlink()
    with pytest.raises(ModelUnavailable):
        LinearAdapter.load(folder, unet)
