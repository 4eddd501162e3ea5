"""A network's folder: config.json and weights in safetensors. Nothing in it is ever executed."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gspn_core.errors import BadSetting, ModelUnavailable
from gspn_core.superres.network import NetworkConfig, SuperResolution

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
FORMAT, FORMAT_VERSION = "gspn super-resolution", 1


def save_network(network: SuperResolution, folder: Path) -> None:
    """Write a network's config and its weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)
    text = {"format": FORMAT, "format_version": FORMAT_VERSION, "config": asdict(network.config)}
    (folder / CONFIG_FILE).write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


def load_network(folder: Path, dtype: torch.dtype = torch.float32) -> SuperResolution:
    """Return the network of a folder in eval mode and without gradients.

    Raises:
        ModelUnavailable: files are missing, damaged or of another format.
    """
    try:
        text = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if text.get("format") != FORMAT or text.get("format_version") != FORMAT_VERSION:
            raise ModelUnavailable(
                f"{folder / CONFIG_FILE} is not a super-resolution network of format {FORMAT_VERSION}; "
                "export it again with `python -m gspn_core.training.superres export`."
            )
        config = {key: tuple(v) if isinstance(v, list) else v for key, v in text["config"].items()}
        network = SuperResolution(NetworkConfig(**config))
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelUnavailable(f"no readable super-resolution network in {folder}: {error}.") from error
    except (SafetensorError, BadSetting) as error:
        raise ModelUnavailable(f"no readable super-resolution network in {folder}: {error}.") from error
    network = network.to(dtype=dtype, memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)
