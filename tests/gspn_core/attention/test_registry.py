"""The choice of a mixer: its words, and the context that puts it to work."""

from __future__ import annotations

from typing import get_args

import pytest

from gspn_core.attention.adapter import self_attentions
from gspn_core.attention.gspn import GSPNMixer
from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.attention.linear import LinearMixer
from gspn_core.attention.linear_adapter import LinearAdapter
from gspn_core.attention.neighborhood import NeighborhoodProcessor
from gspn_core.attention.registry import NEEDS_ADAPTER, use_mixer
from gspn_core.errors import BadSetting, GspnError, ModelUnavailable
from gspn_core.settings import Mixer


@pytest.fixture
def trained(unet):
    adapter = GSPNAdapter.construct_for(unet)
    adapter.trained = True
    return {"gspn": adapter}


def count_mixers(unet):
    return sum(isinstance(module, GSPNMixer) for module in unet.modules())


def test_every_mixer_of_the_settings_can_be_put_to_work():
    assert tuple(NEEDS_ADAPTER) == get_args(Mixer)


def test_gspn_runs_the_mixers_and_leaves_the_unet_as_it_was(unet, trained):
    with use_mixer(unet, "gspn", trained):
        assert count_mixers(unet) == len(trained["gspn"].mixers)
    assert count_mixers(unet) == 0


def test_linear_runs_its_own_adapter_and_leaves_the_unet_as_it_was(unet, trained, run_unet):
    before = run_unet(unet)
    linear = LinearAdapter.construct_for(unet)
    linear.trained = True
    with use_mixer(unet, "linear", {**trained, "linear": linear}):
        assert all(isinstance(layer, LinearMixer) for layer in self_attentions(unet).values())
        assert not run_unet(unet).equal(before)
    assert run_unet(unet).equal(before)
    with pytest.raises(ModelUnavailable, match="mixer linear needs"), use_mixer(unet, "linear", trained):
        pass


def test_attention_leaves_the_unet_alone(unet, trained, run_unet):
    before = run_unet(unet)
    with use_mixer(unet, "attention", trained):
        assert count_mixers(unet) == 0
        assert run_unet(unet).equal(before)


def test_neighborhood_runs_in_every_self_attention_and_leaves_the_unet_as_it_was(unet, trained, run_unet):
    before, wanted = [layer.processor for layer in self_attentions(unet).values()], run_unet(unet, 32, 32)
    with use_mixer(unet, "neighborhood", trained):
        assert all(isinstance(a.processor, NeighborhoodProcessor) for a in self_attentions(unet).values())
        assert not run_unet(unet, 32, 32).equal(wanted)
    assert [layer.processor for layer in self_attentions(unet).values()] == before
    assert run_unet(unet, 32, 32).equal(wanted)


def test_mixer_is_taken_out_when_the_block_raises(unet, trained):
    with pytest.raises(RuntimeError, match="inside"), use_mixer(unet, "gspn", trained):
        raise RuntimeError("inside")
    assert count_mixers(unet) == 0


def test_gspn_without_an_adapter_is_refused(unet):
    with pytest.raises(ModelUnavailable, match="distil one"), use_mixer(unet, "gspn"):
        pass


def test_an_untrained_adapter_is_refused(unet):
    adapter = GSPNAdapter.construct_for(unet)
    with pytest.raises(ModelUnavailable, match="never trained"), use_mixer(unet, "gspn", {"gspn": adapter}):
        pass
    assert count_mixers(unet) == 0


def test_adapter_of_another_unet_is_refused(make_unet, trained):
    with pytest.raises(GspnError, match="another UNet"), use_mixer(make_unet(), "gspn", trained):
        pass


@pytest.mark.parametrize("name", ["attention", "neighborhood"])
def test_own_layers_are_refused_while_an_adapter_is_injected(unet, trained, name):
    with (
        trained["gspn"].injected(),
        pytest.raises(GspnError, match="eject it"),
        use_mixer(unet, name, trained),
    ):
        pass


def test_unknown_mixer_is_refused(unet):
    with (
        pytest.raises(
            BadSetting, match="mixer must be one of gspn, attention, neighborhood, linear, got 'mamba'"
        ),
        use_mixer(unet, "mamba"),
    ):
        pass
