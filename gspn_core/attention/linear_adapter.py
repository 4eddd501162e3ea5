"""The linear-attention adapter, kept on disk in the layout in which LinFusion's weights are published.

A folder holds config.json, whose `modules_list` tells of each attention its place in the UNet, its channels,
heads and hidden channels; in diffusion_pytorch_model.safetensors a name begins with the place in that list:
"12.to_q_.0.weight". It is a complete set of trained weights: nothing of the UNet's own is used again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gspn_core.attention.adapter import MixerAdapter, self_attentions
from gspn_core.attention.linear import LinearMixer
from gspn_core.errors import AdapterMismatch, BadSetting, ModelUnavailable

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
# The published SDXL weights have a sixteenth of the channels in the hidden layer.
HIDDEN_RATIO = 16


class LinearAdapter(MixerAdapter):
    """Linear attention in every self-attention of a UNet."""

    title = "linear-attention"

    @classmethod
    def construct_for(cls, target: object, hidden_ratio: int = HIDDEN_RATIO) -> LinearAdapter:
        """Make an untrained adapter for a UNet, or for a pipeline's `unet`.

        hidden_ratio: channels over hidden channels of the shift networks.

        Raises AdapterMismatch for a UNet without self-attention blocks.
        """
        unet = getattr(target, "unet", target)
        mixers = {
            name: LinearMixer(layer.query_dim, layer.heads, max(1, layer.query_dim // hidden_ratio))
            for name, layer in self_attentions(unet).items()
        }
        return _like(cls(unet, mixers), unet)

    def save(self, folder: str | Path) -> None:
        """Write the published layout: config.json and the weights as safetensors, in the mixers' dtype."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        modules = [
            {
                "module_name": name,
                "dim_n": mixer.channels,
                "heads": mixer.heads,
                "projection_mid_dim": mixer.to_q_[0].out_features,
            }
            for name, mixer in self._mixers.items()
        ]
        state = {
            f"{number}.{key}": tensor.detach().cpu().contiguous()
            for number, mixer in enumerate(self._mixers.values())
            for key, tensor in mixer.state_dict().items()
        }
        save_file(state, folder / WEIGHTS_FILE)
        text = {"_class_name": "LinFusion", "modules_list": modules}
        (folder / CONFIG_FILE).write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, target: object) -> LinearAdapter:
        """Read trained weights for a UNet, or a pipeline's `unet`, in that UNet's dtype and on its device.

        Raises:
            ModelUnavailable: files that are missing or unreadable.
            AdapterMismatch: places, channels, heads, names or shapes that are not this UNet's.
        """
        unet = getattr(target, "unet", target)
        modules, state = _read(Path(folder))
        attentions = self_attentions(unet)
        adapter = cls(unet, _mixers(modules, attentions, Path(folder)))
        names = {str(number): name for number, (name, *_) in enumerate(modules)}
        renamed = {}
        for key, tensor in state.items():
            number, _, rest = key.partition(".")
            renamed[f"{names.get(number, number)}.{rest}"] = tensor
        adapter.load_state_dict(renamed)
        adapter.trained = True
        return _like(adapter, unet)


Module = tuple[str, int, int, int]


def _mixers(
    modules: list[Module], attentions: Mapping[str, nn.Module], folder: Path
) -> dict[str, LinearMixer]:
    mixers = {}
    for name, channels, heads, hidden in modules:
        layer = attentions.get(name)
        if layer is None:
            raise AdapterMismatch(f"{folder} has weights for {name}, which this UNet does not have.")
        if (channels, heads) != (layer.query_dim, layer.heads):
            raise AdapterMismatch(
                f"{folder} has {channels} channels in {heads} heads for {name}, "
                f"this UNet has {layer.query_dim} in {layer.heads}."
            )
        try:
            mixers[name] = LinearMixer(channels, heads, hidden)
        except BadSetting as error:
            raise AdapterMismatch(f"{folder}, {name}: {error}") from None
    missing = [name for name in attentions if name not in mixers]
    if missing:
        raise AdapterMismatch(f"{folder} has no weights for {missing[0]} and {len(missing) - 1} more.")
    return mixers


def _read(folder: Path) -> tuple[list[Module], dict[str, Tensor]]:
    """Return each attention's place, channels, heads and hidden channels, and the tensors."""
    try:
        text = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        modules = [
            (
                str(module["module_name"]),
                int(module["dim_n"]),
                int(module["heads"]),
                int(module["projection_mid_dim"] or module["dim_n"]),
            )
            for module in text["modules_list"]
        ]
        if any(number < 1 for module in modules for number in module[1:]):
            raise ValueError("a size in modules_list is not positive")
        return modules, load_file(folder / WEIGHTS_FILE)
    except (KeyError, TypeError) as error:
        raise ModelUnavailable(
            f"{folder / CONFIG_FILE} does not describe LinFusion's modules: {error!r}."
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelUnavailable(f"no readable linear-attention weights in {folder}: {error}.") from error


def _like(adapter: LinearAdapter, unet: nn.Module) -> LinearAdapter:
    """Return the adapter in the UNet's dtype and on its device, wanting no gradient."""
    weight = next(unet.parameters())
    return adapter.to(device=weight.device, dtype=weight.dtype).requires_grad_(False).train(False)
