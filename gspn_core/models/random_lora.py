"""A LoRA file of random weights for a model's folder, to try what takes one. Its pictures mean nothing."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from gspn_core.errors import ModelUnavailable
from gspn_core.lora.keys import aliases
from gspn_core.models.catalog import model_folder, read_json
from gspn_core.models.weights import part_weights, read_header

LoraLayout = Literal["kohya", "diffusers"]
RANK = 4
# Standard deviation of the change over that of a weight.
_SHARE = 0.3
_PARTS = ("unet", "text_encoder", "text_encoder_2")
_BLOCKS = (".attentions.", ".self_attn.", ".mlp.")


def write_random_lora(
    path: Path, model: str, *, seed: int = 0, rank: int = RANK, layout: LoraLayout = "kohya"
) -> int:
    """Write a file with a pair of random matrices for each linear layer of a model's blocks.

    Args:
        path: Of the new .safetensors file; folders are made.
        model: A name of the catalog or a folder in diffusers' layout.
        seed: Of the weights; the same seed gives the same bytes.
        rank: Of each pair.
        layout: Whose names the tensors have.

    Returns:
        The bytes of the weights.

    Raises:
        ModelUnavailable: The model is not such a folder, the file exists or cannot be written.
    """
    folder = model_folder(model)
    if path.suffix != ".safetensors" or path.exists():
        raise ModelUnavailable(f"{path} must be a new file that ends in .safetensors; name another.")
    if not folder.is_dir():
        raise ModelUnavailable(f"{model} is not a folder in diffusers' layout; give one, or world.")
    config = read_json(folder / "unet" / "config.json", model)
    tensors: dict[str, Tensor] = {}
    for part in _PARTS:
        for layer, shape in _linear_layers(folder / part):
            tensors |= _pair(part, layer, shape, config, seed=seed, rank=rank, layout=layout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, {"ss_network_dim": json.dumps(rank)})
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be written ({error.strerror}); name another.") from error
    return sum(tensor.nbytes for tensor in tensors.values())


def _linear_layers(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for file in part_weights(folder).files:
        for key, value in sorted(read_header(file).items()):
            if key.endswith(".weight") and len(value["shape"]) == 2 and any(mark in key for mark in _BLOCKS):
                yield key.removesuffix(".weight"), tuple(value["shape"])


def _pair(
    part: str, layer: str, shape: tuple[int, int], config: Any, *, seed: int, rank: int, layout: LoraLayout
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {part} {layer}".encode()))
    down = torch.randn(rank, shape[1], generator=generator) / math.sqrt(shape[1])
    up = torch.randn(shape[0], rank, generator=generator) * (_SHARE / math.sqrt(rank))
    names = list(aliases(part, layer, config))
    if layout == "diffusers":
        return {f"{names[0]}.lora_A.weight": down, f"{names[0]}.lora_B.weight": up}
    name = [name for name in names if name.startswith("lora_")][-1]
    return {
        f"{name}.lora_down.weight": down,
        f"{name}.lora_up.weight": up,
        f"{name}.alpha": torch.tensor(float(rank)),
    }
