"""The ControlNets and T2I-Adapters of a folder (`--controls`), known by their configurations.

Each is a folder in diffusers' layout: config.json and .safetensors. Loads no weights and no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gspn_core.errors import ModelUnavailable
from gspn_core.models.files import read_json
from gspn_core.models.shapes import unet_shapes
from gspn_core.models.weights import part_weights
from gspn_core.planning.conditions import ConditionFile, ConditionKind
from gspn_core.planning.shapes import Shapes

MAX_CONTROLS = 200
# As diffusers writes them, and as the first ControlNet-Union was published.
CLASSES: Mapping[str, ConditionKind] = {
    "ControlNetModel": "ControlNet",
    "ControlNetUnionModel": "ControlNet-Union",
    "ControlNetModel_Union": "ControlNet-Union",
    "T2IAdapter": "T2I-Adapter",
}
_XL_ADAPTER = "full_adapter_xl"
# A ControlNet's configuration has no size of its own.
_TRAINED = {"sample_size": 128, "out_channels": 4}
_FAMILIES = {768: "Stable Diffusion 1.5", 1024: "Stable Diffusion 2"}
# How many parts of a file are read for its digest, evenly spaced, and their size.
_PARTS, _PART_BYTES = 32, 1 << 16
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def find_conditions(folder: str, shapes: Shapes | None) -> tuple[ConditionFile, ...]:
    """Return the networks in a folder's sub-folders, sorted by name; what cannot be used has an issue.

    Args:
        folder: It holds a folder for each network.
        shapes: Of the model that they are to steer; None if unknown, and then none can.

    Raises:
        ModelUnavailable: It is not a folder.
    """
    where = Path(folder).expanduser()
    if not where.is_dir():
        raise ModelUnavailable(f"{where} is not a folder; give one with --controls.")
    found = [path for path in sorted(where.iterdir()) if (path / "config.json").is_file()]
    return tuple(read_condition(path, shapes) for path in found[:MAX_CONTROLS])


def read_condition(folder: Path, shapes: Shapes | None) -> ConditionFile:
    """Return the record of a folder, with what is wrong with it if it cannot be used with a model."""
    bare = ConditionFile(name=folder.name, path=str(folder))
    try:
        config = read_json(folder / "config.json", str(folder))
        kind = CLASSES.get(str(config.get("_class_name")))
        if kind is None:
            held = str(config.get("_class_name", "no network"))[:60]
            return _unusable(bare, f"holds {held}, which is neither a ControlNet nor a T2I-Adapter")
        reason = (_adapter_issue if kind == "T2I-Adapter" else _control_issue)(config, shapes)
        if reason:
            return _unusable(bare, reason, kind)
        count = part_weights(folder).count
    except ModelUnavailable as error:
        return _unusable(bare, f"cannot be read ({str(error).rstrip('.')})")
    except _DAMAGED:
        return _unusable(bare, "has a damaged configuration")
    common = {"name": folder.name, "path": str(folder), "kind": kind, "parameters": count}
    common["digest"] = _digest(folder)
    if kind == "T2I-Adapter":
        channels = tuple(config["channels"])
        return ConditionFile(**common, adapter_channels=channels, factor=int(config["downscale_factor"]))
    # It has no up blocks.
    blocks = {**config, "up_block_types": config["down_block_types"], **_TRAINED}
    return ConditionFile(
        **common,
        shapes=unet_shapes(blocks, parameters=count),
        hint_channels=tuple(config["conditioning_embedding_out_channels"]),
        types=int(config.get("num_control_type", 6)) if kind == "ControlNet-Union" else 0,
    )


def _unusable(file: ConditionFile, issue: str, kind: ConditionKind = "ControlNet") -> ConditionFile:
    return ConditionFile(name=file.name, path=file.path, kind=kind, issue=issue)


def _control_issue(config: Mapping[str, Any], shapes: Shapes | None) -> str:
    """Return why a ControlNet cannot steer a model's UNet, as the end of a sentence; "" if it can."""
    if shapes is None:
        return "cannot be compared with a model of unknown sizes"
    unet, width = shapes.unet, int(config["cross_attention_dim"])
    if width != unet.text_channels:
        family = _FAMILIES.get(width)
        of = f"is a ControlNet of {family}" if family else f"reads texts of {width} channels"
        return f"{of}, and this model's have {unet.text_channels}"
    if config.get("addition_embed_type") != "text_time":
        return "is a ControlNet that reads no sizes, and not one of SDXL"
    channels, layers = tuple(config["block_out_channels"]), config["layers_per_block"]
    resnets = (layers,) * len(channels) if isinstance(layers, int) else tuple(layers)
    if (channels, resnets) != (unet.channels, unet.resnets):
        return f"has blocks of {_listed(channels)} channels, and this model {_listed(unet.channels)}"
    inputs, picture = int(config.get("in_channels", 4)), int(config.get("conditioning_channels", 3))
    if (inputs, picture) != (unet.latent_channels, 3):
        wanted = f"not {unet.latent_channels} and 3"
        return f"reads {inputs} channels of latents and {picture} of a picture, {wanted}"
    if 2 ** (len(config["conditioning_embedding_out_channels"]) - 1) != shapes.vae.factor:
        return "reads a picture at another size than this model's latents have"
    return ""


def _adapter_issue(config: Mapping[str, Any], shapes: Shapes | None) -> str:
    """Return the same for a T2I-Adapter."""
    if shapes is None:
        return "cannot be compared with a model of unknown sizes"
    if config.get("adapter_type") != _XL_ADAPTER:
        return "is a T2I-Adapter of Stable Diffusion 1.5 or 2, and not one of SDXL"
    channels, factor = tuple(config["channels"]), int(config["downscale_factor"])
    blocks, unet = len(shapes.unet.channels), shapes.unet
    if channels[:blocks] != unet.channels or len(channels) not in (blocks, blocks + 1):
        return f"has maps of {_listed(channels)} channels, and this model blocks of {_listed(unet.channels)}"
    # Its first map is added behind the first down block, where that has no attention.
    if factor != 2 * shapes.vae.factor or unet.down[0] or not all(unet.down[1:]):
        return "has maps of another size than this model's blocks"
    if int(config.get("in_channels", 3)) not in (1, 3):
        return f"reads pictures of {config['in_channels']} channels, not 1 or 3"
    return ""


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _digest(folder: Path) -> str:
    """Return a digest of the configuration and of parts of the weights, the same wherever the folder is.

    Whole files of gigabytes would take longer to read than the page to start.
    """
    found = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        found.update(f"{path.name} {size}".encode())
        with path.open("rb") as stream:
            for part in range(_PARTS):
                stream.seek(max(0, size - _PART_BYTES) * part // (_PARTS - 1))
                found.update(stream.read(_PART_BYTES))
    return found.hexdigest()[:32]
