"""Load a model from safetensors on disk; nothing is downloaded and nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers.utils.logging as diffusers_logging
import torch
import transformers.utils.logging as transformers_logging
from diffusers import StableDiffusionXLPipeline
from safetensors import SafetensorError

from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.attention.linear_adapter import LinearAdapter
from gspn_core.cascade.model import Model
from gspn_core.errors import GspnError, ModelUnavailable
from gspn_core.models.catalog import ADAPTER_FOLDERS, find_card, model_folder
from gspn_core.runtime.device import pick_device, pick_dtype


def load_model(name_or_path: str = "world", *, device: str = "auto", dtype: str = "auto") -> Model:
    """Return the model of that name or folder on the device, ready to run.

    The VAE runs in float32 whatever the dtype of the rest (SDXL's own overflows in float16). Raises
    ModelUnavailable in one sentence when files are missing, cut off or of another layout.
    """
    card, folder = find_card(name_or_path, device=device, dtype=dtype), model_folder(name_or_path)
    where = pick_device(device)
    kind = pick_dtype(dtype, where)
    kinds = {"gspn": GSPNAdapter, "linear": LinearAdapter}
    try:
        with _quiet_libraries():
            pipeline = _load_pipeline(folder).to(where, kind)
            pipeline.vae.to(dtype=pick_dtype("float32", where))
            for part in (pipeline.unet, pipeline.vae):
                part.to(memory_format=torch.channels_last)
        adapters = {
            mixer: kinds[mixer].load(folder / name, pipeline.unet).to(device=where, dtype=kind)
            for mixer, name in ADAPTER_FOLDERS.items()
            if mixer in card.mixers
        }
    except GspnError:
        raise
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelUnavailable(
            f"model {name_or_path} cannot be loaded from {folder}: {reason}; copy the folder again."
        ) from error
    return Model(card=card, pipeline=pipeline, adapters=adapters)


def _load_pipeline(folder: Path) -> StableDiffusionXLPipeline:
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    for model, tokenizer in (
        (pipeline.text_encoder, pipeline.tokenizer),
        (pipeline.text_encoder_2, pipeline.tokenizer_2),
    ):
        if len(tokenizer) != model.config.vocab_size:
            raise ModelUnavailable(
                f"a tokenizer in {folder} has {len(tokenizer)} words where its text encoder has "
                f"{model.config.vocab_size}; copy the folder again."
            )
    for part in (pipeline.vae, pipeline.unet, pipeline.text_encoder, pipeline.text_encoder_2):
        part.eval().requires_grad_(False)
    return pipeline


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep both libraries' progress bars and advice out of the terminal; leave them as they were."""
    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    bars = [library.is_progress_bar_enabled() for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity_error()
            library.disable_progress_bar()
        yield
    finally:
        for library, level, bar in zip(libraries, levels, bars, strict=True):
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()
