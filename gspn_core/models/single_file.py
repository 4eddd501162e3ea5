"""An SDXL checkpoint in one .safetensors file, in the layout that other tools write.

Such a file holds the weights alone. Configurations and tokenizers come from a folder of the same name next
to it, if there is one, else from SDXL's own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn

from gspn_core.errors import ModelUnavailable
from gspn_core.models.layout import LAYOUTS, inpainting, write_configs
from gspn_core.models.weights import first_channels, read_header

_TOKENIZERS = ("tokenizer", "tokenizer_2")
_PREFIXES = {"unet": "model.diffusion_model.", "vae": "first_stage_model."}


@contextmanager
def config_folder(path: Path, sdxl_tokenizers: Callable[[], Path]) -> Iterator[Path]:
    """Yield a folder of the checkpoint's configurations and tokenizers.

    Args:
        path: The checkpoint.
        sdxl_tokenizers: Returns the folder of SDXL's own; raises ModelUnavailable if they cannot be fetched.

    Raises:
        ModelUnavailable: There are no tokenizers.
    """
    own = path.with_suffix("")
    if (own / "model_index.json").is_file() and all((own / name).is_dir() for name in _TOKENIZERS):
        yield own
        return
    try:
        source = own if (own / "tokenizer").is_dir() else sdxl_tokenizers()
    except ModelUnavailable as error:
        raise ModelUnavailable(
            f"{path.name} holds no tokenizers, as such files do: put the folders tokenizer and "
            f"tokenizer_2 of any SDXL into {own}, or go online once."
        ) from error
    with tempfile.TemporaryDirectory(prefix="gspn-configs-") as name:
        folder = Path(name)
        layout = LAYOUTS["full"]
        write_configs(folder, inpainting(layout) if first_channels(path) != 4 else layout)
        for tokenizer in _TOKENIZERS:
            found = source / tokenizer if (source / tokenizer).is_dir() else source / "tokenizer"
            shutil.copytree(found, folder / tokenizer)
        yield folder


def read_single_file(
    path: Path,
    configs: Path,
    dtype: torch.dtype,
    vae: AutoencoderKL | None,
    quantization: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, nn.Module]:
    """Return the parts of a checkpoint by their names in a pipeline, the VAE in float32 unless it is given.

    Args:
        path: The checkpoint.
        configs: The folder of its configurations.
        dtype: Of every part but the VAE.
        vae: The VAE, None for the checkpoint's own.
        quantization: Of the UNet's weights, as options of diffusers; empty for none.

    Raises:
        ModelUnavailable: The file lacks weights of its configuration.
    """
    _check_count(path, configs, "unet", UNet2DConditionModel)
    if vae is None:
        _check_count(path, configs, "vae", AutoencoderKL)
        vae = AutoencoderKL.from_single_file(
            str(path), config=str(configs), subfolder="vae", torch_dtype=torch.float32, local_files_only=True
        )
    given: dict[str, nn.Module] = {"vae": vae}
    if quantization:
        given["unet"] = UNet2DConditionModel.from_single_file(
            str(path),
            config=str(configs),
            subfolder="unet",
            torch_dtype=dtype,
            local_files_only=True,
            **quantization,
        )
    pipeline = StableDiffusionXLPipeline.from_single_file(
        str(path),
        config=str(configs),
        **given,
        torch_dtype=dtype,
        local_files_only=True,
        add_watermarker=False,
    )
    parts = {name: getattr(pipeline, name) for name in ("text_encoder", "text_encoder_2", "unet", "vae")}
    for name, part in parts.items():
        missing = [key for key, tensor in part.state_dict().items() if tensor.is_meta]
        if missing:
            raise ModelUnavailable(
                f"{path} lacks {missing[0]} and {len(missing) - 1} more of its {name}; copy it again, or put "
                f"its configuration into {path.with_suffix('')}."
            )
    return parts


def _check_count(path: Path, configs: Path, name: str, cls: type) -> None:
    """Raise ModelUnavailable if the file has fewer tensors of a part than its configuration.

    Both layouts name the tensors of these parts one to one. If one is missing, diffusers itself stops with a
    sentence on meta tensors that names none.
    """
    held = sum(key.startswith(_PREFIXES[name]) for key in read_header(path) if key != "__metadata__")
    with init_empty_weights():
        wanted = len(cls.from_config(cls.load_config(configs / name)).state_dict())
    if held < wanted:
        raise ModelUnavailable(
            f"{path} lacks {wanted - held} of the {wanted} tensors of its {name}; copy it again, or put its "
            f"configuration into {path.with_suffix('')}."
        )
