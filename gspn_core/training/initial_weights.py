"""Start a training from the weights of an earlier model, whose vocabulary may differ."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from gspn_core.attention.gspn import GSPNConfig
from gspn_core.attention.gspn_adapter import CONFIG_FILE, WEIGHTS_FILE, GSPNAdapter

_TOKENS = "embeddings.token_embedding.weight"


def start_vae(vae: AutoencoderKL, folder: Path) -> None:
    """Copy the weights of the autoencoder of the pipeline in `folder`.

    Raises RuntimeError if its shapes differ.
    """
    vae.load_state_dict(AutoencoderKL.from_pretrained(folder / "vae").float().state_dict())


def start_model(modules: Mapping[str, nn.Module], tokenizer: CLIPTokenizer, folder: Path) -> int:
    """Copy the weights of the UNet and the text encoders of the pipeline in `folder`.

    Embeddings are copied by token text; tokens that the earlier vocabulary lacks keep their initialisation.
    Returns how many tokens were copied. Raises RuntimeError if other shapes differ.
    """
    modules["unet"].load_state_dict(
        UNet2DConditionModel.from_pretrained(folder / "unet").float().state_dict()
    )
    old = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
    shared = [(number, old[token]) for token, number in tokenizer.get_vocab().items() if token in old]
    here, there = (torch.tensor(numbers) for numbers in zip(*shared, strict=True))
    kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    for name, kind in kinds.items():
        module = modules[name]
        mine, theirs = module.state_dict(), kind.from_pretrained(folder / name).float().state_dict()
        key = next(key for key in mine if key.endswith(_TOKENS))
        tokens = mine[key].clone()
        tokens[here] = theirs[key][there]
        module.load_state_dict({**theirs, key: tokens})
    return len(shared)


def start_mixers(adapter: GSPNAdapter, folder: Path) -> bool:
    """Copy the mixers of an earlier model's adapter.

    Returns whether they were copied; they are not if the folder has none, or of another form.
    """
    if not (folder / CONFIG_FILE).is_file():
        return False
    text = json.loads((folder / CONFIG_FILE).read_text())
    state = load_file(folder / WEIGHTS_FILE)
    mine = {name: tuple(tensor.shape) for name, tensor in adapter.state_dict().items()}
    fits = GSPNConfig(**text["config"]) == adapter.config
    if not fits or mine != {name: tuple(tensor.shape) for name, tensor in state.items()}:
        return False
    adapter.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return True
