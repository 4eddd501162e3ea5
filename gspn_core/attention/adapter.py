"""The GSPN adapter: a mixer for every self-attention of a UNet, put in and taken out exactly, kept on disk.

Knows where a diffusers UNet keeps its self-attentions and how their maps' height and width are learnt.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gspn_core.attention.gspn import GSPNConfig, GSPNMixer
from gspn_core.errors import AdapterMismatch, BadSetting, GspnError, ModelUnavailable

FORMAT = "gspn-adapter"
FORMAT_VERSION = 1
# Weights of another training differ by about 0.5 in their sketch, rounding to bfloat16 by under 0.005.
_SKETCH_TOLERANCE = 0.02
CONFIG_FILE = "adapter.json"
WEIGHTS_FILE = "adapter.safetensors"


class GSPNAdapter:
    """One mixer per self-attention (`attn1`) of a UNet, which this adapter owns while injected.

    Attributes:
        config: what the mixers are made of.
        trained: whether the mixers have learnt to stand in for the attention; kept on disk.
    """

    def __init__(self, unet: nn.Module, mixers: Mapping[str, GSPNMixer], config: GSPNConfig) -> None:
        """Adopt ready mixers, named by their attention's place in the UNet (see `construct_for`, `load`)."""
        self.unet, self.config, self.trained = unet, config, False
        self._mixers = dict(mixers)
        self._originals: dict[str, nn.Module] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    @classmethod
    def construct_for(cls, target: object, config: GSPNConfig | None = None) -> GSPNAdapter:
        """Make an untrained adapter for a UNet, or for a pipeline's `unet`.

        Raises:
            AdapterMismatch: a UNet without self-attention blocks.
            BadSetting: a self-attention that a mixer cannot replace, or a config that does not divide it.
        """
        unet = getattr(target, "unet", target)
        config = GSPNConfig() if config is None else config
        mixers = {
            name: GSPNMixer.from_attention(layer, config) for name, layer in self_attentions(unet).items()
        }
        if not mixers:
            raise AdapterMismatch(f"{type(unet).__name__} has no self-attention blocks to replace.")
        return cls(unet, mixers, config)

    @property
    def mixers(self) -> Mapping[str, GSPNMixer]:
        """Mixers by the name of the attention they replace, in the UNet's order."""
        return MappingProxyType(self._mixers)

    @property
    def is_injected(self) -> bool:
        return bool(self._originals)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the mixers' parameters, and nothing of the UNet."""
        for mixer in self._mixers.values():
            yield from mixer.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Return all mixers' tensors, named by attention and parameter."""
        return {
            f"{name}.{key}": tensor
            for name, mixer in self._mixers.items()
            for key, tensor in mixer.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy tensors named as in `state_dict` into the mixers.

        Raises:
            AdapterMismatch: names or shapes that differ; nothing is copied then.
        """
        mine = self.state_dict()
        _refuse_differences(
            {name: tuple(tensor.shape) for name, tensor in state.items()},
            {name: tuple(tensor.shape) for name, tensor in mine.items()},
        )
        with torch.no_grad():
            for name, tensor in mine.items():
                tensor.copy_(state[name])

    def to(self, *args, **kwargs) -> GSPNAdapter:
        """Move or cast the mixers, as `nn.Module.to` does."""
        for mixer in self._mixers.values():
            mixer.to(*args, **kwargs)
        return self

    def train(self, mode: bool = True) -> GSPNAdapter:
        """Set the mixers' training mode."""
        for mixer in self._mixers.values():
            mixer.train(mode)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> GSPNAdapter:
        """Set whether the mixers' parameters want gradients."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def inject(self) -> GSPNAdapter:
        """Put the mixers in place of the self-attentions, on the same device.

        Raises:
            GspnError: this adapter or another is injected already.
            AdapterMismatch: the UNet's self-attentions are no longer those the adapter was made for.
        """
        if self.is_injected:
            raise GspnError("the GSPN adapter is injected already; eject it first.")
        if any(isinstance(module, GSPNMixer) for module in self.unet.modules()):
            raise GspnError("another GSPN adapter is injected into this UNet; eject that one first.")
        originals = self_attentions(self.unet)
        _refuse_differences(dict.fromkeys(self._mixers, ()), dict.fromkeys(originals, ()))
        self._hooks = hook_map_sizes(self.unet, self._mixers)
        for name, mixer in self._mixers.items():
            _follow(mixer, originals[name])
            self.unet.set_submodule(name, mixer)
        self._originals = originals
        return self

    def eject(self) -> None:
        """Put the very modules back that `inject` replaced, where the UNet is by then, and remove its hooks.

        Raises:
            GspnError: the adapter is not injected.
        """
        if not self.is_injected:
            raise GspnError("the GSPN adapter is not injected; inject it first.")
        for handle in self._hooks:
            handle.remove()
        self._hooks.clear()
        for name, original in self._originals.items():
            _follow(original, self._mixers[name])
            self.unet.set_submodule(name, original)
        self._originals = {}
        for mixer in self._mixers.values():
            mixer.map_size = None

    @contextmanager
    def injected(self) -> Iterator[GSPNAdapter]:
        """Inject for the length of a `with` block; eject however it ends."""
        self.inject()
        try:
            yield self
        finally:
            self.eject()

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
            trained, teacher = bool(text["trained"]), {k: float(v) for k, v in text["teacher"].items()}
        except (KeyError, TypeError, ValueError, AttributeError, BadSetting) as error:
            raise ModelUnavailable(
                f"{folder / CONFIG_FILE} does not describe a GSPN adapter: {error}."
            ) from error
        adapter = cls.construct_for(target, config)
        adapter.load_state_dict(state)
        for name, layer in self_attentions(adapter.unet).items():
            if abs(_sketch(layer) - teacher.get(name, math.inf)) > _SKETCH_TOLERANCE:
                raise AdapterMismatch(
                    f"the adapter in {folder} was distilled from another model: {name} has other weights; "
                    "distil it again with `python -m gspn_core.world.distill`."
                )
        adapter.trained = trained
        return adapter

    def _attentions(self) -> Mapping[str, nn.Module]:
        return self._originals if self.is_injected else self_attentions(self.unet)


def self_attentions(unet: nn.Module) -> dict[str, nn.Module]:
    """Return every block's self-attention by its dotted name, in the UNet's order."""
    return {
        f"{name}.attn1": module.attn1
        for name, module in unet.named_modules()
        if isinstance(module, BasicTransformerBlock)
    }


def _sketch(attention: nn.Module) -> float:
    """Return one number by which an attention's weights are known again, whatever dtype they are kept in."""
    weight = attention.to_q.weight.detach().double().flatten().cpu()
    wave = torch.cos(torch.arange(len(weight), dtype=weight.dtype))
    return float(weight @ wave / weight.norm().clamp_min(1e-12))


def _follow(module: nn.Module, other: nn.Module) -> None:
    """Move a module to the device of the one in whose place it is put: a UNet may move in between."""
    device = next(other.parameters()).device
    if device.type != "meta" and next(module.parameters()).device != device:
        module.to(device)


class _HasMapSize(Protocol):
    map_size: tuple[int, int] | None


def hook_map_sizes(
    unet: nn.Module, layers: Mapping[str, _HasMapSize]
) -> list[torch.utils.hooks.RemovableHandle]:
    """Tell layers, named by their attention's place in the UNet, the height and width of every map they get.

    Returns:
        the hooks, one per Transformer2DModel; whoever asked for them removes them.
    """

    def tell(inside: list[_HasMapSize]):
        def hook(_module, args, kwargs):
            hidden_states = args[0] if args else kwargs["hidden_states"]
            for layer in inside:
                layer.map_size = tuple(hidden_states.shape[-2:])

        return hook

    return [
        module.register_forward_pre_hook(
            tell([layer for key, layer in layers.items() if key.startswith(f"{name}.")]), with_kwargs=True
        )
        for name, module in unet.named_modules()
        if isinstance(module, Transformer2DModel)
    ]


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


def _refuse_differences(got: Mapping[str, tuple], needed: Mapping[str, tuple]) -> None:
    """Raise AdapterMismatch with the first names or shapes that the adapter and the UNet do not share."""
    wrong = [f"{name} is missing" for name in needed if name not in got]
    wrong += [f"{name} has no place in the UNet" for name in got if name not in needed]
    wrong += [
        f"{name} is {got[name]}, the UNet needs {needed[name]}"
        for name in needed
        if name in got and got[name] != needed[name]
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise AdapterMismatch(f"the GSPN adapter does not fit this UNet: {'; '.join(wrong[:3])}{more}.")
