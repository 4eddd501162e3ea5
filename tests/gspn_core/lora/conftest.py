"""LoRA files of the tiny pipeline, in both layouts, with the matrices that they were made of."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gspn_core.lora.keys import aliases
from gspn_core.models.lora_files import LoraFolder
from gspn_core.planning.types import ModelCard

PARTS = ("unet", "text_encoder", "text_encoder_2")
RANK, ALPHA = 3, 6.0


def matrices(pipeline, *, seed=0):
    """Return (down, up) by part and path: every attention and feed-forward, and some convolutions."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for part in PARTS:
        for path, module in getattr(pipeline, part).named_modules():
            if isinstance(module, nn.Linear) and ("attentions" in path or "layers" in path):
                O, I = module.weight.shape  # noqa: E741
                found[part, path] = (
                    torch.randn(RANK, I, generator=generator) / 4,
                    torch.randn(O, RANK, generator=generator) / 4,
                )
            elif isinstance(module, nn.Conv2d) and "resnets.0" in path:
                O, I, kh, kw = module.weight.shape  # noqa: E741
                down = torch.randn(RANK, I, kh, kw, generator=generator) / 4
                found[part, path] = (down, torch.randn(O, RANK, 1, 1, generator=generator) / 4)
    return found


def named(pairs, config, layout):
    """Return the tensors of a file in a layout."""
    tensors = {}
    for (part, path), (down, up) in pairs.items():
        names = list(aliases(part, path, config))
        if layout == "diffusers":
            tensors |= {f"{names[0]}.lora_A.weight": down, f"{names[0]}.lora_B.weight": up * (ALPHA / RANK)}
        else:
            name = [name for name in names if name.startswith("lora_")][-1]
            tensors |= {
                f"{name}.lora_down.weight": down,
                f"{name}.lora_up.weight": up,
                f"{name}.alpha": torch.tensor(ALPHA),
            }
    return tensors


@pytest.fixture
def pairs(tiny_pipeline):
    return matrices(tiny_pipeline)


@pytest.fixture
def folder(tmp_path, tiny_pipeline, pairs):
    """Return a folder with the same LoRA in both layouts."""
    for layout in ("kohya", "diffusers"):
        save_file(named(pairs, tiny_pipeline.unet.config, layout), tmp_path / f"{layout}.safetensors")
    return tmp_path


@pytest.fixture
def source(folder, tiny_pipeline):
    return LoraFolder(folder, tiny_pipeline.unet.config.cross_attention_dim)


@pytest.fixture
def lora_card(tiny_card, source) -> ModelCard:
    return dataclasses.replace(tiny_card, loras=source)


@pytest.fixture
def lora_model(tiny_model, lora_card):
    return dataclasses.replace(tiny_model, card=lora_card)
