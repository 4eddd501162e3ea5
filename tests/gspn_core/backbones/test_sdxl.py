import dataclasses

import pytest
import torch
from diffusers import UNet2DConditionModel

from gspn_core.backbones.backbone import NO_EXTRA, Extra, joined
from gspn_core.backbones.noise_path import diffusion_path
from gspn_core.backbones.refiner import Refiner, handover_level
from gspn_core.backbones.registry import BACKBONES, make_backbone
from gspn_core.backbones.sdxl import SDXL, guided_noise_pred, noise_pred
from gspn_core.cascade.schedule import make_scheduler
from gspn_core.kinds.registry import find_kind
from gspn_core.planning.types import Size, StagePlan
from gspn_core.settings import Settings

T300 = torch.tensor(300.0)
STAGE = StagePlan(
    index=0,
    kind=find_kind("generate"),
    px=64,
    size=Size(64, 96),
    scale=1,
    num_inference_steps=2,
    steps=2,
    vae_tile_px=None,
    settings=Settings(prompt="a", aesthetic_score=7.0),
)


@pytest.fixture
def x():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def test_each_row_makes_the_backbone_that_has_its_name(tiny_model):
    assert {name: make_backbone(tiny_model, name).name for name in BACKBONES} == {
        name: name for name in BACKBONES
    }
    assert isinstance(make_backbone(tiny_model), SDXL)
    assert isinstance(make_backbone(dataclasses.replace(tiny_model, family="refiner")), Refiner)


def test_the_codec_states_the_latents_of_the_vae(tiny_model):
    codec = SDXL(tiny_model).codec()
    vae = tiny_model.pipeline.vae
    assert (codec.factor, codec.channels) == (8, 4)
    assert codec.scaling == vae.config.scaling_factor


@torch.inference_mode()
def test_the_refiner_predicts_with_its_own_unet_from_its_own_rows(tiny_model, x):
    base, refiner = SDXL(tiny_model), Refiner(tiny_model)
    assert not base.read("a hill", "").prompt_embeds[0].any()
    text = refiner.read("a hill", "")
    assert text.prompt_embeds[0].any()
    rows = refiner.rows(text, STAGE)
    assert rows.add_time_ids.tolist() == [[64, 96, 0, 0, 2.5], [64, 96, 0, 0, 7.0]]
    made = refiner.predict(x, T300, rows)
    assert made.shape == (2, 4, 8, 8) and made.dtype == torch.float32
    assert torch.equal(made, noise_pred(tiny_model.refiner, x, T300, rows))


@pytest.mark.parametrize("start", [0.05, 0.2, 0.29, 0.58, 0.83, 0.98])
def test_the_refiner_takes_over_at_a_whole_timestep(start, tiny_pipeline):
    path = diffusion_path(make_scheduler("euler", tiny_pipeline.scheduler.config))
    level = handover_level(Settings(prompt="a", refiner="ensemble", refiner_start=start), path)
    first = round(1000 * (1 - start))
    assert not path.level(float(first)) < level
    assert path.level(first - 0.01) < level
    assert handover_level(Settings(prompt="a", refiner="image", refiner_start=start), path) == 0.0


@torch.inference_mode()
def test_residuals_of_zero_change_no_byte_and_others_change_the_prediction(
    tiny_pipeline, tiny_conditioning, x
):
    unet = tiny_pipeline.unet
    plain = noise_pred(unet, x, T300, tiny_conditioning)
    skips = 1 + sum(len(block.resnets) + bool(block.downsamplers) for block in unet.down_blocks)
    for changed in range(skips + 1):
        residuals = [torch.zeros(1, 1, 1, 1)] * (skips + 1)
        extra = Extra(residuals=tuple(residuals))
        assert torch.equal(noise_pred(unet, x, T300, tiny_conditioning, extra), plain)
        residuals[changed] = torch.ones(1, 1, 1, 1)
        extra = Extra(residuals=tuple(residuals))
        assert not torch.equal(noise_pred(unet, x, T300, tiny_conditioning, extra), plain)


@torch.inference_mode()
def test_channels_and_class_labels_are_read_by_every_row(tiny_pipeline, tiny_conditioning, x):
    torch.manual_seed(0)
    # diffusers would set what `_use_default_values` names back to its defaults.
    config = {name: v for name, v in tiny_pipeline.unet.config.items() if name != "_use_default_values"}
    config |= {"in_channels": 9, "num_class_embeds": 5}
    unet, seen = UNet2DConditionModel.from_config(config).eval(), []
    unet.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    mask = torch.rand(1, 5, 8, 8)

    def predicted(channels, label):
        extra = Extra(channels=channels, class_labels=torch.tensor([label]))
        return noise_pred(unet, x, T300, tiny_conditioning, extra)

    plain = predicted(mask, 1)
    assert seen[0].shape == (2, 9, 8, 8)
    assert torch.equal(seen[0][1, 4:], mask[0])
    assert not torch.equal(predicted(mask * 2, 1), plain)
    assert not torch.equal(predicted(mask, 2), plain)


def test_joined_extras_append_channels_and_add_residuals():
    assert joined([]) is NO_EXTRA
    assert joined([NO_EXTRA, NO_EXTRA]) is NO_EXTRA
    one = Extra(channels=torch.zeros(1, 1, 2, 2), residuals=(torch.ones(1), torch.ones(1)))
    other = Extra(
        channels=torch.ones(1, 2, 2, 2),
        residuals=(torch.ones(1), torch.ones(1) * 2),
        class_labels=torch.tensor([3]),
    )
    both = joined([one, NO_EXTRA, other])
    assert both.channels.mean((0, 2, 3)).tolist() == [0, 1, 1]
    assert [residual.item() for residual in both.residuals] == [2, 3]
    assert both.class_labels.item() == 3


@torch.inference_mode()
def test_serial_guidance_is_the_same_prediction(tiny_pipeline, tiny_conditioning, x):
    both = guided_noise_pred(tiny_pipeline.unet, x, T300, tiny_conditioning, 3.0)
    serial = guided_noise_pred(tiny_pipeline.unet, x, T300, tiny_conditioning, 3.0, serial=True)
    torch.testing.assert_close(serial, both, atol=1e-4, rtol=1e-4)
