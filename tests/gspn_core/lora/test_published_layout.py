"""All names of a LoRA file for SDXL, made from the published configuration, against diffusers' conversion."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from gspn_core.backbones.lora import known_layers
from gspn_core.lora.keys import aliases, split_key
from gspn_core.models.layout import LAYOUTS, text_config

# What kohya's sd-scripts say that they make for SDXL: the layers of the UNet and of both text encoders.
PUBLISHED = {"unet": 722, "text_encoder": 72, "text_encoder_2": 192}


@pytest.fixture(scope="module")
def sdxl():
    layout = LAYOUTS["full"]
    configs = [text_config(part, words=49408) for part in (layout.text_encoder, layout.text_encoder_2)]
    first, second = (CLIPTextConfig.from_dict(config) for config in configs)
    with torch.device("meta"):
        return SimpleNamespace(
            unet=UNet2DConditionModel.from_config(dict(layout.unet)),
            text_encoder=CLIPTextModel(first),
            text_encoder_2=CLIPTextModelWithProjection(second),
        )


def layers_of(pipeline, part):
    """Return the linear layers of a part that LoRA files change."""
    marks = (".attentions.",) if part == "unet" else (".self_attn.", ".mlp.")
    modules = getattr(pipeline, part).named_modules()
    return [
        path for path, module in modules if isinstance(module, nn.Linear) and any(m in path for m in marks)
    ]


@pytest.mark.parametrize("part", PUBLISHED)
def test_every_layer_has_one_name_of_kohyas_and_is_found_by_it(part, sdxl):
    known, paths = known_layers(sdxl), layers_of(sdxl, part)
    names = [kohya_name(part, path, sdxl) for path in paths]
    assert len(set(names)) == len(paths) == PUBLISHED[part]
    assert [known[name][0] for name in names] == [(part, path) for path in paths]


def test_diffusers_converts_every_name_to_the_same_layer(sdxl):
    paths = layers_of(sdxl, "unet")
    tensors = {}
    for path in paths:
        name = kohya_name("unet", path, sdxl)
        tensors |= {f"{name}.lora_{role}.weight": torch.zeros(1, 1) for role in ("down", "up")}
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = StableDiffusionXLPipeline.lora_state_dict(tensors, unet_config=sdxl.unet.config)[0]
    theirs = {split_key(key)[0].removeprefix("unet.") for key in converted}
    assert theirs == set(paths)


def kohya_name(part, path, pipeline):
    """Return the name that kohya's files have, which for a UNet is that of the original layout."""
    names = [name for name in aliases(part, path, pipeline.unet.config) if name.startswith("lora_")]
    return names[-1]
