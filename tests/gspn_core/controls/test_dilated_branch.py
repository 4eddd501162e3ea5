import pytest
import torch
from torch import nn

from gspn_core.attention.neighborhood import neighborhood_attention
from gspn_core.backbones.sdxl import guided_noise_pred
from gspn_core.controls.dilated_branch import dilated, dilated_layers


def _convolutions(blocks):
    modules = [module for block in blocks for module in block.modules()]
    return [module for module in modules if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]


def test_dilation_reaches_down_and_middle_blocks_only(tiny_pipeline):
    unet = tiny_pipeline.unet
    with dilated(unet, 4, "down"):
        down = [c for c in _convolutions([*unet.down_blocks, unet.mid_block]) if c.stride == (1, 1)]
        assert down
        assert all(c.dilation == (4, 4) and c.padding == (4, 4) for c in down)
        assert all(c.dilation == (1, 1) for c in _convolutions(unet.up_blocks))
    with dilated(unet, 2, "all"):
        up = [c for c in _convolutions(unet.up_blocks) if c.stride == (1, 1)]
        assert all(c.dilation == (2, 2) for c in up)


def test_dilation_is_restored_when_the_body_raises(tiny_pipeline):
    unet = tiny_pipeline.unet
    before = [(c.dilation, c.padding) for c in _convolutions([unet])]
    with pytest.raises(ZeroDivisionError), dilated(unet, 2, "all"):
        raise ZeroDivisionError
    assert [(c.dilation, c.padding) for c in _convolutions([unet])] == before


def test_dilation_keeps_the_output_size_and_changes_the_output(tiny_pipeline, tiny_conditioning):
    unet, x, t = tiny_pipeline.unet, torch.randn(1, 4, 8, 12), torch.tensor(500.0)
    with torch.inference_mode():
        plain = guided_noise_pred(unet, x, t, tiny_conditioning, 3.0)
        with dilated(unet, 2, "down"):
            widened = guided_noise_pred(unet, x, t, tiny_conditioning, 3.0)
        again = guided_noise_pred(unet, x, t, tiny_conditioning, 3.0)
    assert plain.shape == widened.shape == x.shape
    assert not torch.allclose(plain, widened)
    assert torch.equal(plain, again)


def test_the_deep_scope_is_freescales_layers(tiny_pipeline):
    unet = tiny_pipeline.unet
    names = {module: name for name, module in unet.named_modules()}
    found = [names[layer] for layer in dilated_layers(unet, "deep")]
    last = len(unet.down_blocks) - 1
    assert f"down_blocks.{last - 1}.downsamplers.0.conv" in found
    assert any(name.startswith(f"down_blocks.{last}.resnets.") for name in found)
    assert any(name.startswith("mid_block.resnets.") for name in found)
    assert not any(name.startswith(("up_blocks", "conv_", "down_blocks.0.resnets")) for name in found)


def test_a_dilated_downsampler_keeps_the_output_size(tiny_pipeline, tiny_conditioning):
    unet, x, t = tiny_pipeline.unet, torch.randn(1, 4, 8, 12), torch.tensor(500.0)
    with torch.inference_mode(), dilated(unet, 2, "deep"):
        assert guided_noise_pred(unet, x, t, tiny_conditioning, 3.0).shape == x.shape


def test_neighbourhood_attention_strides_over_the_whole_map_while_dilated(tiny_pipeline):
    unet = tiny_pipeline.unet
    with neighborhood_attention(unet) as processors:
        assert not any(p.strides for p in processors.values())
        with dilated(unet, 2, "down"):
            assert all(p.strides for p in processors.values())
        assert not any(p.strides for p in processors.values())
