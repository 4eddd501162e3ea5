"""The adapter on a real UNet: put in, taken out exactly, kept on disk."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from gspn_core.attention.adapter import self_attentions
from gspn_core.attention.gspn import GSPNConfig, GSPNMixer
from gspn_core.attention.gspn_adapter import CONFIG_FILE, WEIGHTS_FILE, GSPNAdapter
from gspn_core.errors import AdapterMismatch, GspnError, ModelUnavailable


def count_mixers(unet):
    return sum(isinstance(module, GSPNMixer) for module in unet.modules())


def test_mixers_are_named_after_every_self_attention(unet):
    adapter = GSPNAdapter.construct_for(unet)
    named = [name for name, _ in unet.named_modules() if name.endswith(".attn1")]
    assert sorted(adapter.mixers) == sorted(named)
    assert len(named) == 11
    for name, mixer in adapter.mixers.items():
        assert mixer.channels == unet.get_submodule(name).query_dim


def test_construct_for_takes_a_pipeline(unet):
    assert GSPNAdapter.construct_for(SimpleNamespace(unet=unet)).unet is unet


def test_count_goes_from_none_to_all_to_none(unet):
    adapter = GSPNAdapter.construct_for(unet)
    assert count_mixers(unet) == 0
    adapter.inject()
    assert count_mixers(unet) == len(adapter.mixers) == 11
    adapter.eject()
    assert count_mixers(unet) == 0


def test_eject_restores_the_original_modules(unet, run_unet):
    before, originals = run_unet(unet), self_attentions(unet)
    names = [name for name, _ in unet.named_modules()]
    adapter = GSPNAdapter.construct_for(unet).inject()
    adapter.eject()
    assert all(unet.get_submodule(name) is module for name, module in originals.items())
    assert [name for name, _ in unet.named_modules()] == names
    assert not any(module._forward_pre_hooks for module in unet.modules())
    assert torch.equal(run_unet(unet), before)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (16, 8), (12, 20)])
def test_injected_mixers_run_and_change_the_output(unet, run_unet, height, width):
    before = run_unet(unet, height, width)
    adapter = GSPNAdapter.construct_for(unet)
    calls = []
    for name, mixer in adapter.mixers.items():
        mixer.register_forward_hook(lambda mixer, *_, name=name: calls.append((name, mixer.map_size)))
    with adapter.injected():
        after = run_unet(unet, height, width)
    assert sorted(name for name, _ in calls) == sorted(adapter.mixers)
    assert {size for _, size in calls} == {(height // 2, width // 2), (height // 4, width // 4)}
    assert (after - before).abs().max() > 1e-2
    assert after.isfinite().all()


def test_originals_do_not_run_while_injected(unet, run_unet):
    calls = []
    for module in self_attentions(unet).values():
        module.register_forward_hook(lambda *_: calls.append(1))
    with GSPNAdapter.construct_for(unet).injected():
        run_unet(unet)
    assert not calls
    run_unet(unet)
    assert len(calls) == 11


def test_injected_ejects_when_the_block_raises(unet):
    adapter = GSPNAdapter.construct_for(unet)
    with pytest.raises(RuntimeError, match="inside"), adapter.injected():
        raise RuntimeError("inside")
    assert count_mixers(unet) == 0
    assert not adapter.is_injected


def test_injecting_twice_is_refused(unet):
    adapter = GSPNAdapter.construct_for(unet).inject()
    with pytest.raises(GspnError, match="injected already"):
        adapter.inject()
    assert count_mixers(unet) == 11


def test_injecting_over_another_adapter_is_refused(unet):
    first, second = GSPNAdapter.construct_for(unet), GSPNAdapter.construct_for(unet)
    with first.injected(), pytest.raises(GspnError, match="another adapter"):
        second.inject()
    second.inject()
    assert second.is_injected


def test_ejecting_what_is_not_injected_is_refused(unet):
    with pytest.raises(GspnError, match="not injected"):
        GSPNAdapter.construct_for(unet).eject()


def test_unet_without_attention_is_refused(make_unet):
    plain = make_unet(
        down_block_types=("DownBlock2D",) * 3, up_block_types=("UpBlock2D",) * 3, mid_block_type=None
    )
    with pytest.raises(AdapterMismatch, match="no self-attention"):
        GSPNAdapter.construct_for(plain)


def test_parameters_are_the_mixers_alone(unet):
    adapter = GSPNAdapter.construct_for(unet)
    mine, theirs = {id(p) for p in adapter.parameters()}, {id(p) for p in unet.parameters()}
    assert not mine & theirs
    assert len(mine) == len(adapter.state_dict())


def test_training_reaches_every_mixer_through_the_unet(unet):
    unet.requires_grad_(False)
    adapter = GSPNAdapter.construct_for(unet)
    with adapter.injected():
        unet(torch.randn(1, 4, 8, 12), 10, torch.randn(1, 5, 24)).sample.square().mean().backward()
    for name, mixer in adapter.mixers.items():
        assert mixer.to_out.weight.grad.abs().max() > 0, name
    assert all(parameter.grad is None for parameter in unet.parameters())


def test_saved_adapter_gives_the_same_output(make_unet, run_unet, tmp_path):
    unet, config = make_unet(), GSPNConfig(chunk_size=3, gating="free", shared_weights="none", scan_ratio=2)
    adapter = GSPNAdapter.construct_for(unet, config)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    adapter.trained = True
    with adapter.injected():
        wanted = run_unet(unet)
    adapter.save(tmp_path)
    loaded = GSPNAdapter.load(tmp_path, make_unet())
    assert loaded.config == config
    assert loaded.trained
    with loaded.injected():
        assert torch.equal(run_unet(loaded.unet), wanted)


def test_an_untrained_adapter_knows_it(unet, tmp_path):
    adapter = GSPNAdapter.construct_for(unet)
    adapter.save(tmp_path)
    assert not adapter.trained
    assert not GSPNAdapter.load(tmp_path, unet).trained


def test_load_takes_the_dtype_of_the_unet(make_unet, tmp_path):
    adapter = GSPNAdapter.construct_for(make_unet())
    adapter.to(torch.float16).save(tmp_path)
    assert next(iter(load_file(tmp_path / WEIGHTS_FILE).values())).dtype == torch.float16
    loaded = GSPNAdapter.load(tmp_path, make_unet())
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())


def test_load_refuses_another_width_with_names_and_shapes(make_unet, tmp_path):
    GSPNAdapter.construct_for(make_unet()).save(tmp_path)
    wider = make_unet(block_out_channels=(16, 64, 48))
    with pytest.raises(
        AdapterMismatch, match=r"attn1\.to_proxy\.weight is \(4, 32\), the UNet needs \(8, 64\)"
    ):
        GSPNAdapter.load(tmp_path, wider)


def test_load_refuses_another_depth_with_names(make_unet, tmp_path):
    GSPNAdapter.construct_for(make_unet()).save(tmp_path)
    with pytest.raises(AdapterMismatch, match=r"transformer_blocks\.1\.attn1\.\S+ has no place in the UNet"):
        GSPNAdapter.load(tmp_path, make_unet(transformer_layers_per_block=1))


def test_load_of_missing_tensors_copies_nothing(unet):
    adapter = GSPNAdapter.construct_for(unet)
    before = {name: tensor.clone() for name, tensor in adapter.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in adapter.state_dict().items()}
    gone = state.popitem()[0]
    with pytest.raises(AdapterMismatch, match=f"{gone} is missing"):
        adapter.load_state_dict(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapter.state_dict().items())


def test_load_refuses_a_folder_without_an_adapter(unet, tmp_path):
    with pytest.raises(ModelUnavailable, match="no readable GSPN adapter"):
        GSPNAdapter.load(tmp_path, unet)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 99}, "adapter format 99"),
        ({"format": "other"}, "is not a GSPN adapter"),
        ({"config": {"depth": 3}}, "does not describe"),
        ({"config": {"gating": "open"}}, "does not describe"),
    ],
)
def test_load_refuses_a_description_it_does_not_know(unet, tmp_path, change, words):
    GSPNAdapter.construct_for(unet).save(tmp_path)
    file = tmp_path / CONFIG_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelUnavailable, match=words):
        GSPNAdapter.load(tmp_path, unet)


def test_load_refuses_weights_that_are_not_safetensors(unet, tmp_path):
    adapter = GSPNAdapter.construct_for(unet)
    adapter.save(tmp_path)
    torch.save(adapter.state_dict(), tmp_path / WEIGHTS_FILE)
    with pytest.raises(ModelUnavailable, match="no readable GSPN adapter"):
        GSPNAdapter.load(tmp_path, unet)


def test_load_refuses_weights_that_disagree_with_the_description(unet, tmp_path):
    GSPNAdapter.construct_for(unet).save(tmp_path)
    state = load_file(tmp_path / WEIGHTS_FILE)
    state["stray"] = torch.zeros(1)
    save_file(state, tmp_path / WEIGHTS_FILE)
    with pytest.raises(AdapterMismatch, match="stray has no place"):
        GSPNAdapter.load(tmp_path, unet)


def test_load_refuses_a_model_of_the_same_shape_with_other_weights(make_unet, tmp_path):
    GSPNAdapter.construct_for(make_unet()).save(tmp_path)
    other = make_unet()
    with torch.no_grad():
        for layer in self_attentions(other).values():
            layer.to_q.weight.copy_(torch.randn_like(layer.to_q.weight))
    with pytest.raises(AdapterMismatch, match="was distilled from another model"):
        GSPNAdapter.load(tmp_path, other)


def test_an_injected_adapter_saves_what_the_ejected_one_does(unet, tmp_path):
    adapter = GSPNAdapter.construct_for(unet)
    adapter.save(tmp_path / "ejected")
    with adapter.injected():
        adapter.save(tmp_path / "injected")
    texts = [(tmp_path / name / CONFIG_FILE).read_text() for name in ("ejected", "injected")]
    assert texts[0] == texts[1]


def test_warming_up_runs_a_scan_and_leaves_no_map_size_behind(unet):
    adapter, ran = GSPNAdapter.construct_for(unet), []
    for mixer in adapter.mixers.values():
        mixer.register_forward_hook(lambda _mixer, _args, out: ran.append(out.shape))
    adapter.warm_up()
    assert len(ran) == 1
    assert all(mixer.map_size is None for mixer in adapter.mixers.values())
