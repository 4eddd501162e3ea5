"""An SDXL folder of random weights: the real one in everything but its pictures. For tests and figures.

The weights are written tensor by tensor, so that the full size needs memory for its largest tensor alone.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, ControlNetUnionModel, T2IAdapter, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from gspn_core.errors import ModelUnavailable
from gspn_core.models.catalog import model_folder
from gspn_core.models.condition_layout import ControlLayout, control_config
from gspn_core.models.files import read_json
from gspn_core.models.layout import (
    LAYOUTS,
    SizeName,
    inpainting,
    vocabulary_size,
    write_configs,
    write_json,
    write_tokenizers,
)
from gspn_core.models.x4_layout import PARTS, write_x4_configs

OnBytes = Callable[[int, int], None]
_WEIGHTS = {
    "text_encoder": "model.fp16.safetensors",
    "text_encoder_2": "model.fp16.safetensors",
    "unet": "diffusion_pytorch_model.fp16.safetensors",
    "vae": "diffusion_pytorch_model.fp16.safetensors",
}
_CLASSES = (AutoencoderKL, ControlNetModel, ControlNetUnionModel, T2IAdapter, UNet2DConditionModel)
# A folder that is one part itself.
_ALONE = ""
_BYTES = 2
# Ends of residual branches start small, or thirty of them in a row would drown what they are added to.
_BRANCH_ENDS = (
    ".conv2.weight",
    ".to_out.0.weight",
    ".ff.net.2.weight",
    ".proj_out.weight",
    "out_proj.weight",
)
_BRANCH_SCALE = 0.3


def write_random_model(
    folder: Path,
    size: SizeName = "full",
    *,
    seed: int = 0,
    inpaints: bool = False,
    on_bytes: OnBytes = lambda _done, _total: None,
) -> int:
    """Write an SDXL folder in float16 with weights of the seed; return its weights' bytes.

    The same seed and size give the same bytes.

    Args:
        folder: A new or empty folder.
        size: "full" as SDXL 1.0, or "small".
        seed: Of the weights.
        inpaints: The UNet reads a mask and the latents of the picture around it, as published.
        on_bytes: Called with the bytes written and the total.

    Raises:
        ModelUnavailable: The folder is not empty, or the disk has no room.
    """
    layout = inpainting(LAYOUTS[size]) if inpaints else LAYOUTS[size]

    def configs() -> None:
        write_configs(folder, layout)
        write_tokenizers(folder, vocabulary_size(layout.text_encoder))

    return _write(folder, configs, seed, on_bytes, ("text_encoder", "text_encoder_2", "unet", "vae"))


def write_random_refiner(
    folder: Path, size: SizeName = "full", *, seed: int = 0, on_bytes: OnBytes = lambda _done, _total: None
) -> int:
    """Write the folder of a refiner for such a model, its UNet alone; see `write_random_model`."""
    return _write(
        folder,
        lambda: write_json(folder / "unet" / "config.json", LAYOUTS[size].refiner),
        seed,
        on_bytes,
        ("unet",),
    )


def write_random_x4(
    folder: Path, size: SizeName = "full", *, seed: int = 0, on_bytes: OnBytes = lambda _done, _total: None
) -> int:
    """Write the folder of an x4 upscaler, as published or small; see `write_random_model`."""
    return _write(folder, lambda: write_x4_configs(folder, size), seed, on_bytes, PARTS)


def write_random_control(
    folder: Path,
    layout: ControlLayout,
    size: SizeName = "full",
    *,
    model: str | None = None,
    seed: int = 0,
    on_bytes: OnBytes = lambda _done, _total: None,
) -> int:
    """Write the folder of a ControlNet or T2I-Adapter, as published or small; see `write_random_model`.

    model: name or folder of the model that it is to fit, in place of a size.
    """
    unet = LAYOUTS[size].unet
    if model is not None:
        unet = read_json(model_folder(model) / "unet" / "config.json", model)
    config = control_config(layout, unet)
    return _write(folder, lambda: write_json(folder / "config.json", config), seed, on_bytes, (_ALONE,))


def _write(
    folder: Path, configs: Callable[[], None], seed: int, on_bytes: OnBytes, names: tuple[str, ...]
) -> int:
    if folder.exists() and any(folder.iterdir()):
        raise ModelUnavailable(f"{folder} is not empty; name a new folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        configs()
        shapes = {name: _shapes(name, folder / name) for name in names}
        total = sum(_BYTES * math.prod(shape) for part in shapes.values() for shape, _ in part.values())
        free = shutil.disk_usage(folder).free
        if free < total:
            raise ModelUnavailable(
                f"{folder} needs {total / 1e9:.1f} GB and its disk has {free / 1e9:.1f} GB free; make room."
            )
        done = 0
        for name, part in shapes.items():
            path = folder / name / _WEIGHTS.get(name, _WEIGHTS["unet"])
            done = _stream(path, part, seed, lambda d: on_bytes(d, total), done)
        return total
    except OSError as error:
        raise ModelUnavailable(
            f"{folder} cannot be written ({error.strerror}); name a folder on a disk with room."
        ) from error


def _shapes(name: str, folder: Path) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Return the shape of every tensor of a part, and whether it is the weight of a norm."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        if name in ("unet", "vae", _ALONE):
            (cls,) = (cls for cls in _CLASSES if cls.__name__ == config["_class_name"])
            module = cls.from_config(config)
        else:
            cls = CLIPTextModel if name == "text_encoder" else CLIPTextModelWithProjection
            module = cls(CLIPTextConfig.from_dict(config))
    norms = {
        f"{path}.weight"
        for path, part in module.named_modules()
        if isinstance(part, (nn.LayerNorm, nn.GroupNorm))
    }
    return {key: (tuple(value.shape), key in norms) for key, value in sorted(module.state_dict().items())}


def _stream(
    path: Path,
    shapes: Mapping[str, tuple[tuple[int, ...], bool]],
    seed: int,
    on_bytes: Callable[[int], None],
    done: int,
) -> int:
    """Write one safetensors file, tensor after tensor; return the bytes written so far."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for key, (shape, _) in shapes.items():
        end = place + _BYTES * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": shape, "data_offsets": (place, end)}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for key, (shape, is_norm) in shapes.items():
            tensor = _random(key, shape, is_norm, seed)
            stream.write(tensor.half().numpy().tobytes())
            done += _BYTES * tensor.numel()
            on_bytes(done)
    return done


def _random(key: str, shape: tuple[int, ...], is_norm: bool, seed: int) -> torch.Tensor:
    """Return one tensor: ones for a norm, zeros for a bias, else noise of variance 1 / inputs."""
    if is_norm:
        return torch.ones(shape)
    if len(shape) < 2:
        return torch.zeros(shape)
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {key}".encode()))
    scale = 0.02 if "embedding.weight" in key else 1 / math.sqrt(math.prod(shape[1:]))
    if key.endswith(_BRANCH_ENDS):
        scale *= _BRANCH_SCALE
    return torch.randn(shape, generator=generator).mul_(scale)
