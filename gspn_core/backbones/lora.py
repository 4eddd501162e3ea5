"""LoRA files fused into a model's weights, and taken out again to the bit.

W' = W + Σ weight · alpha / rank · up · down        (Hu et al., 2106.09685, §4.1)

The sum is made in float32 and rounded once. What W was is kept on the host and put back.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gspn_core.backbones.model import Model
from gspn_core.errors import BadSetting, NotFinite
from gspn_core.lora.files import StageLora
from gspn_core.lora.keys import Pair, aliases, pairs_of, split_key
from gspn_core.planning.loras import REPLACING
from gspn_core.planning.types import CascadePlan
from gspn_core.settings import Mixer

UNET = ("unet",)
ENCODERS = ("text_encoder", "text_encoder_2")
_MOST_KEPT = 32


class Place(NamedTuple):
    """A layer of a model: the name of its part in the pipeline, and its place in that part."""

    part: str
    path: str

    @property
    def is_self_attention(self) -> bool:
        """Return whether it belongs to a self-attention of the UNet."""
        return self.part == "unet" and ".attn1." in self.path


@dataclass(frozen=True, kw_only=True)
class Match:
    """Where the layers of a file belong.

    Args:
        layers: the file's name of each layer that has a place.
        unknown: names in the file that have none.
        differing: layers of another shape than the model's.
    """

    layers: Mapping[Place, str]
    unknown: tuple[str, ...]
    differing: tuple[str, ...]


class Loras:
    """The LoRA files of a loaded model. Not thread-safe but for `notices`.

    Args:
        model: its weights are changed while files are fused.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: dict[str, Place] | None = None
        self._matches: OrderedDict[str, Match] = OrderedDict()

    def notices(self, plan: CascadePlan) -> tuple[str, ...]:
        """Return a sentence for each file of a plan that does not take part as a whole.

        Raises:
            BadSetting: a file has layers of another shape than the model's, or none that belong to it.
        """
        said: dict[str, str] = {}
        for stage in plan.stages:
            for lora in stage.loras:
                sentence = _notice(lora.name, self._match(lora), stage.settings.mixer)
                if sentence:
                    said.setdefault(lora.name, sentence)
        sentences = list(said.values())
        if any(stage.loras and stage.kind.refines(stage.settings) for stage in plan.stages):
            sentences.append("LoRA files change the base model; the refiner runs without them.")
        return tuple(sentences)

    def _match(self, lora: StageLora) -> Match:
        """Return where a file's layers belong; raise BadSetting for one of another model."""
        known = self._matches.get(lora.sha256)
        if known is None:
            with _opened(self._model, lora) as file:
                shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            known = self._matches[lora.sha256] = match(shapes, self._places())
            while len(self._matches) > _MOST_KEPT:
                self._matches.popitem(last=False)
        if known.differing:
            raise BadSetting(
                "loras",
                f"loras: {lora.name} was made for another model: {len(known.differing)} of its layers have "
                f"another shape, such as {known.differing[0][:80]}; leave it out.",
            )
        if not known.layers:
            raise BadSetting(
                "loras", f"loras: {lora.name} has no layer of {self._model.card.title}; leave it out."
            )
        return known

    def _places(self) -> dict[str, tuple[Place, tuple[int, ...]]]:
        if self._known is None:
            self._known = known_layers(self._model.pipeline)
        return self._known

    def fusing(self) -> Fusing:
        """Return the context in which files are fused and, at its end, taken out."""
        return Fusing(self._model, self._match)


class Fusing:
    """Files that are fused into some parts, until others are asked for or the `with` block ends."""

    def __init__(self, model: Model, matched: Any) -> None:
        self._model, self._matched = model, matched
        self._kept: dict[Place, Tensor] = {}
        self._now: tuple[Any, ...] = ((), (), False)

    def __enter__(self) -> Fusing:
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def use(self, loras: Sequence[StageLora], parts: Sequence[str], mixer: Mixer | None = None) -> None:
        """Have these files fused into these parts, and nothing else anywhere.

        Args:
            loras: of a stage.
            parts: names of parts in the pipeline.
            mixer: of the stage; one with weights of its own leaves the self-attentions out.

        Raises:
            BadSetting: a file has changed since the plan was made, or cannot be read.
            NotFinite: a file, or what comes of it, has values that are not numbers.
        """
        wanted = (tuple(loras), tuple(parts), mixer in REPLACING) if loras else ((), (), False)
        if wanted == self._now:
            return
        self.restore()
        if not loras:
            return
        try:
            with torch.inference_mode():
                self._fuse(*wanted)
            self._now = wanted
        except BaseException:
            self.restore()
            raise

    @torch.inference_mode()
    def restore(self) -> None:
        """Put back every weight that was changed."""
        while self._kept:
            place, original = self._kept.popitem()
            _layer(self._model, place).weight.copy_(original)
        self._now = ((), (), False)

    def _fuse(self, loras: Sequence[StageLora], parts: Sequence[str], without_self_attention: bool) -> None:
        changes: dict[Place, list[tuple[StageLora, str]]] = {}
        for lora in loras:
            for place, layer in self._matched(lora).layers.items():
                if place.part in parts and not (without_self_attention and place.is_self_attention):
                    changes.setdefault(place, []).append((lora, layer))
        if not changes:
            return
        readers = {lora: _Reader(self._model, lora) for lora in loras}
        try:
            for place, changed in changes.items():
                weight = _layer(self._model, place).weight
                fused = weight.float()
                for lora, layer in changed:
                    fused = fused + readers[lora].delta(layer, fused)
                result = fused.to(weight.dtype)
                if not bool(torch.isfinite(result).all()):
                    raise _not_finite(", ".join(lora.name for lora, _ in changed))
                self._kept[place] = weight.detach().to("cpu", copy=True)
                weight.copy_(result)
        finally:
            for reader in readers.values():
                reader.close()


class _Reader:
    """The tensors of an open file, by layer."""

    def __init__(self, model: Model, lora: StageLora) -> None:
        self._lora, self._context = lora, _opened(model, lora)
        self._file = self._context.__enter__()
        self._keys: dict[str, dict[str, str]] = {}
        for key in self._file.keys():  # noqa: SIM118 - not a mapping
            split = split_key(key)
            if split is not None:
                self._keys.setdefault(split[0], {})[split[1]] = key
        self._metadata = _adapter_metadata(self._file.metadata())

    def close(self) -> None:
        self._context.__exit__(None, None, None)

    def delta(self, layer: str, weight: Tensor) -> Tensor:
        """Return weight · alpha / rank · up · down in the shape of a weight, float32 on its device."""
        keys = self._keys[layer]
        down, up = (self._file.get_tensor(keys[role]).to(weight.device).float() for role in ("down", "up"))
        rank = down.shape[0]
        if "alpha" in keys:
            scale = float(self._file.get_tensor(keys["alpha"]).float().reshape(-1)[0]) / rank
        else:
            scale = _metadata_scale(self._metadata, layer, rank)
        if not (math.isfinite(scale) and bool(torch.isfinite(down).all() & torch.isfinite(up).all())):
            raise _not_finite(self._lora.name)
        product = up.flatten(1) @ down.flatten(1)
        return (self._lora.weight * scale) * product.reshape(weight.shape)


def known_layers(pipeline: Any) -> dict[str, tuple[Place, tuple[int, ...]]]:
    """Return every layer of a pipeline that LoRA files may change, with its weight's shape, by its names."""
    found: dict[str, tuple[Place, tuple[int, ...]]] = {}
    for part in (*UNET, *ENCODERS):
        for path, module in getattr(pipeline, part).named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                entry = Place(part, path), tuple(module.weight.shape)
                for name in aliases(part, path, pipeline.unet.config):
                    found.setdefault(name, entry)
    return found


def match(shapes: Mapping[str, Sequence[int]], known: Mapping[str, tuple[Place, tuple[int, ...]]]) -> Match:
    """Return where the layers of a file belong. shapes: of its tensors by name; known: see `known_layers`."""
    pairs, unknown = pairs_of(shapes)
    layers: dict[Place, str] = {}
    unplaced, differing = list(unknown), []
    for layer, pair in pairs.items():
        entry = known.get(layer)
        if entry is None or entry[0] in layers:
            unplaced.append(layer)
        elif not _fits(pair, entry[1]):
            differing.append(layer)
        else:
            layers[entry[0]] = layer
    return Match(layers=layers, unknown=tuple(unplaced), differing=tuple(differing))


def _fits(pair: Pair, shape: Sequence[int]) -> bool:
    return pair.up[0] == shape[0] and math.prod(pair.down[1:]) == math.prod(shape[1:])


def _notice(name: str, found: Match, mixer: Mixer) -> str:
    """Return what of a file does not take part, "" for nothing."""
    total = len(found.layers) + len(found.unknown)
    sentences = []
    if found.unknown:
        sentences.append(
            f"{len(found.unknown)} of {total} entries have no place in this model, such as "
            f"{found.unknown[0][:80]}"
        )
    own = sum(place.is_self_attention for place in found.layers)
    if own and mixer in REPLACING:
        sentences.append(
            f"{own} of {len(found.layers)} layers belong to the self-attention, which the {mixer} mixer "
            "replaces"
        )
    return f"LoRA {name}: {'; '.join(sentences)}; they have no effect." if sentences else ""


def _layer(model: Model, place: Place) -> nn.Module:
    return getattr(model.pipeline, place.part).get_submodule(place.path)


def _opened(model: Model, lora: StageLora) -> Any:
    """Return an open file; raise BadSetting if it is not the one that a plan was made with."""
    source = model.card.loras
    files = {file.name: file.path for file in (() if source is None else source.all())}
    if lora.name not in files or source.digest(lora.name) != lora.sha256:
        raise BadSetting("loras", f"loras: {lora.name} has changed since the run was planned; run it again.")
    try:
        return safe_open(files[lora.name], "pt")
    except (OSError, SafetensorError) as error:
        raise BadSetting("loras", f"loras: {lora.name} cannot be read ({error}); copy it again.") from error


def _not_finite(name: str) -> NotFinite:
    return NotFinite(
        f"LoRA {name} gives weights that are not finite numbers; lower its weight or leave it out."
    )


def _adapter_metadata(metadata: Mapping[str, str] | None) -> Mapping[str, Any]:
    """Return what diffusers writes of rank and alpha where a file has no alpha of its own."""
    try:
        found = json.loads((metadata or {}).get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _metadata_scale(metadata: Mapping[str, Any], layer: str, rank: int) -> float:
    """Return alpha / rank of a layer; 1 where nothing says otherwise."""
    part, _, path = layer.partition(".")
    patterns = metadata.get(f"{part}.alpha_pattern")
    patterns = patterns if isinstance(patterns, dict) else {}
    alpha = next(
        (value for key, value in patterns.items() if path == key or path.endswith(f".{key}")),
        metadata.get(f"{part}.lora_alpha", rank),
    )
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        return 1.0
    return alpha / (math.sqrt(rank) if metadata.get(f"{part}.use_rslora") is True else rank)
