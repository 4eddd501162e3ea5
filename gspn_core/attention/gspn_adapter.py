"""The GSPN adapter: a line-scan mixer for every self-attention, and how it is kept on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gspn_core.attention.adapter import MixerAdapter, self_attentions
from gspn_core.attention.full_weight import full_weight, is_kept_whole
from gspn_core.attention.gspn import GSPNConfig, GSPNMixer
from gspn_core.errors import AdapterMismatch, BadSetting, ModelUnavailable

FORMAT = "gspn-adapter"
FORMAT_VERSION = 1
# Weights of another training differ by about 0.5 in their sketch, rounding to bfloat16 by under 0.005, and
# what is kept in four bits by about 0.06, a few times that in the worst of many layers.
_SKETCH_TOLERANCE, _QUANTIZED_TOLERANCE = 0.02, 0.3
CONFIG_FILE = "adapter.json"
WEIGHTS_FILE = "adapter.safetensors"


class GSPNAdapter(MixerAdapter):
    """GSPN mixers in a UNet. config: what they are made of; `trained` is kept on disk."""

    title = "GSPN"

    def __init__(self, unet: nn.Module, mixers: Mapping[str, GSPNMixer], config: GSPNConfig) -> None:
        """Adopt ready mixers, named by their attention's place in the UNet (see `construct_for`, `load`)."""
        super().__init__(unet, mixers)
        self.config = config

    @classmethod
    def construct_for(
        cls,
        target: object,
        config: GSPNConfig | None = None,
        *,
        names: Collection[str] | None = None,
        starts: bool = True,
    ) -> GSPNAdapter:
        """Make an untrained adapter for a UNet, or for a pipeline's `unet`; `starts` as in `from_attention`.

        names: the self-attentions to replace, by their place in the UNet; None replaces all, and a hybrid
        keeps the others.

        Raises:
            AdapterMismatch: a UNet without self-attention blocks, or without one of those named.
            BadSetting: a self-attention that a mixer cannot replace, or a config that does not divide it.
        """
        unet = getattr(target, "unet", target)
        config = GSPNConfig() if config is None else config
        found = self_attentions(unet)
        missing = sorted(set(names or ()) - set(found))
        if missing:
            raise AdapterMismatch(f"the UNet has no self-attention {missing[0]}; it has {len(found)} others.")
        mixers = {
            name: GSPNMixer.from_attention(layer, config, starts=starts)
            for name, layer in found.items()
            if names is None or name in names
        }
        return cls(unet, mixers, config)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run one mixer on a few tokens, so that the scan is compiled before the first picture."""
        mixer = next(iter(self._mixers.values()))
        mixer(mixer.to_proxy.weight.new_zeros(1, 16, mixer.channels), map_size=(4, 4))

    def save(self, folder: str | Path) -> None:
        """Write the config as json and the weights as safetensors, in the mixers' dtype."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, folder / WEIGHTS_FILE)
        text = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "trained": self.trained,
            "config": asdict(self.config),
            "targets": list(self._mixers),
            "teacher": {name: _sketch(layer) for name, layer in self._attentions().items()},
            "shapes": {name: list(tensor.shape) for name, tensor in state.items()},
        }
        (folder / CONFIG_FILE).write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, target: object) -> GSPNAdapter:
        """Read an adapter for a UNet, or for a pipeline's `unet`, in that UNet's dtype and on its device.

        Raises:
            ModelUnavailable: files that are missing, unreadable, or of another format version.
            AdapterMismatch: names or shapes that are not this UNet's, or attentions with other weights than
                those that the mixers learnt from.
        """
        folder = Path(folder)
        text, state = _read(folder)
        try:
            config = GSPNConfig(**text["config"])
            names = [str(name) for name in text["targets"]]
            trained, teacher = bool(text["trained"]), {k: float(v) for k, v in text["teacher"].items()}
        except (KeyError, TypeError, ValueError, AttributeError, BadSetting) as error:
            raise ModelUnavailable(
                f"{folder / CONFIG_FILE} does not describe a GSPN adapter: {error}."
            ) from error
        found = self_attentions(getattr(target, "unet", target))
        # Names that the UNet does not have are reported with their tensors below.
        known = [name for name in names if name in found]
        adapter = cls.construct_for(target, config, names=known, starts=False)
        adapter.load_state_dict(state)
        for name, layer in adapter._attentions().items():
            tolerance = _SKETCH_TOLERANCE if is_kept_whole(layer.to_q) else _QUANTIZED_TOLERANCE
            if abs(_sketch(layer) - teacher.get(name, math.inf)) > tolerance:
                raise AdapterMismatch(
                    f"the adapter in {folder} was distilled from another model: {name} has other weights; "
                    "distil it again with `python -m gspn_core.training.distill`."
                )
        adapter.trained = trained
        return adapter

    def _attentions(self) -> Mapping[str, nn.Module]:
        found = self._originals if self.is_injected else self_attentions(self.unet)
        return {name: found[name] for name in self._mixers if name in found}


def _sketch(attention: nn.Module) -> float:
    """Return one number by which an attention's weights are known again, whatever dtype they are kept in."""
    weight = full_weight(attention.to_q).detach().double().flatten().cpu()
    wave = torch.cos(torch.arange(len(weight), dtype=weight.dtype))
    return float(weight @ wave / weight.norm().clamp_min(1e-12))


def _read(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    """Return the json and the tensors of a saved adapter; nothing in either is ever executed."""
    try:
        text = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if not isinstance(text, dict) or text.get("format") != FORMAT:
            raise ModelUnavailable(f"{folder / CONFIG_FILE} is not a GSPN adapter.")
        if text.get("format_version") != FORMAT_VERSION:
            raise ModelUnavailable(
                f"{folder} has adapter format {text.get('format_version')}, "
                f"this program reads {FORMAT_VERSION}; export it again."
            )
        return text, load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelUnavailable(f"no readable GSPN adapter in {folder}: {error}.") from error
