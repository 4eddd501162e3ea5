"""The trained model that a distillation learns from."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from transformers import CLIPTokenizer

from gspn_core.errors import GspnError
from gspn_core.training.initial_weights import start_model
from gspn_core.training.recipe import Recipe


def read_teacher(recipe: Recipe, tokenizer: CLIPTokenizer, modules: Mapping[str, nn.Module]) -> Path:
    """Read the weights of work/model.pt, else those of the model in recipe.start, into the modules.

    Returns:
        The folder of the model's autoencoder.

    Raises:
        GspnError: there is no such model, or it has other shapes or another vocabulary.
    """
    work, start = recipe.work, recipe.start
    if (work / "model.pt").is_file():
        state = torch.load(work / "model.pt", weights_only=True)["averages"]
        for name, module in modules.items():
            module.load_state_dict(state[name])
        return work
    if start is None:
        raise GspnError(f"{work} holds no trained model (model.pt); train one or name one with --start.")
    parts = ("unet", "vae", "tokenizer", *(name for name in modules if name != "unet"))
    missing = [name for name in parts if not (start / name).is_dir()]
    if missing:
        raise GspnError(f"{start} has no {', '.join(missing)}; name a model's folder such as assets/world.")
    try:
        known = start_model(modules, tokenizer, start)
    except RuntimeError as error:
        raise GspnError(f"The model in {start} has other shapes than the recipe's.") from error
    if known < len(tokenizer):
        raise GspnError(
            f"The model in {start} knows {known} of this world's {len(tokenizer)} tokens; "
            "train one with `python -m gspn_core.training.train`."
        )
    return start
