"""The models that go by a name, and the card of any SDXL folder. Reads configs, loads no weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from gspn_core.errors import ModelUnavailable
from gspn_core.plan import ModelCard
from gspn_core.settings import Mixer
from gspn_core.world import captions

WORLD_FOLDER = Path(__file__).parents[2] / "assets" / "world"
# Where a model's folder keeps the mixers that it has beside its own attention.
ADAPTER_FOLDERS: Mapping[Mixer, str] = MappingProxyType({"gspn": "gspn_adapter", "linear": "linfusion"})
_COMPUTING = ("torch", "diffusers", "transformers", "numba")

WORLD = ModelCard(
    name="world",
    title="The embedded model",
    description="a small SDXL trained by this repository; it draws landscapes and nothing else",
    base_px=256,
    size_multiple=32,
    max_target_px=2048,
    default_target_px=1024,
    num_inference_steps=24,
    guidance_scale=4.0,
    upscale_strength=0.4,
    mixers=("gspn", "attention", "neighborhood"),
    vocabulary_hint="it draws landscapes: mountains, hills, dunes, lakes, meadows, pines, by day or night",
    examples=captions.EXAMPLES,
    read_words=captions.read_words,
)


def model_folder(name_or_path: str) -> Path:
    """Return the folder of a model by name ("world") or by path."""
    return WORLD_FOLDER if name_or_path == WORLD.name else Path(name_or_path).expanduser()


def find_card(name_or_path: str, *, device: str = "auto", dtype: str = "auto") -> ModelCard:
    """Return the card of a model by name or of a local SDXL folder.

    device and dtype, as they will be asked for at loading, are told apart by the card's fingerprint: a
    picture made on another device or in another dtype is not the same picture.

    Raises ModelUnavailable when there is no such folder or it holds another kind of model.
    """
    folder = model_folder(name_or_path)
    index = _read_json(folder / "model_index.json", name_or_path)
    if index.get("_class_name") != "StableDiffusionXLPipeline":
        kind = index.get("_class_name", "no pipeline")
        raise ModelUnavailable(
            f"model {name_or_path} holds {kind}, not a StableDiffusionXLPipeline; use an SDXL folder."
        )
    fingerprint = _fingerprint(folder, device, dtype)
    if name_or_path == WORLD.name:
        return dataclasses.replace(WORLD, fingerprint=fingerprint)
    unet = _read_json(folder / "unet" / "config.json", name_or_path)
    vae = _read_json(folder / "vae" / "config.json", name_or_path)
    try:
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        base_px = int(unet["sample_size"]) * factor
        size_multiple = factor * 2 ** (len(unet["block_out_channels"]) - 1)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelUnavailable(
            f"model {name_or_path} has a config without {error}; write the folder again with save_pretrained."
        ) from error
    there = {mixer: (folder / name).is_dir() for mixer, name in ADAPTER_FOLDERS.items()}
    mixers = ("gspn", "attention", "neighborhood", "linear")
    return ModelCard(
        name=folder.name,
        title=folder.name,
        description="an SDXL checkpoint of yours",
        base_px=base_px,
        size_multiple=size_multiple,
        max_target_px=base_px * 8,
        default_target_px=base_px,
        num_inference_steps=50,
        guidance_scale=7.0,
        upscale_strength=0.35,
        mixers=tuple(mixer for mixer in mixers if there.get(mixer, True)),
        fingerprint=fingerprint,
    )


def _fingerprint(folder: Path, device: str, dtype: str) -> str:
    """Return a signature of the names, sizes and times of a model's files and of what computes with them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    record = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    record += [(package, metadata.version(package)) for package in _COMPUTING]
    record += [device, dtype]
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:16]


def _read_json(path: Path, name: str) -> dict:
    if not path.is_file():
        raise ModelUnavailable(
            f"model {name} has no {path.name} in {path.parent}; use “world” or a folder in diffusers' layout."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"model {name}: {path} cannot be read ({error}); copy it again.") from error
    if not isinstance(content, dict):
        raise ModelUnavailable(f"model {name}: {path} is no configuration; copy it again.")
    return content
