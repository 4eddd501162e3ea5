"""The names of tensors in LoRA files: which layer one belongs to, and what it is there.

kohya's names ("lora_unet_input_blocks_4_1_…_attn1_to_q.lora_down.weight") write underscores for dots, so that
a name cannot be read back without the model: `aliases` makes all names that a model's layer may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

Role = Literal["down", "up", "alpha"]

_ROLES: tuple[tuple[str, Role], ...] = (
    (".lora_down.weight", "down"),
    (".lora_up.weight", "up"),
    (".lora_A.weight", "down"),
    (".lora_B.weight", "up"),
    (".lora_A.default.weight", "down"),
    (".lora_B.default.weight", "up"),
    (".lora.down.weight", "down"),
    (".lora.up.weight", "up"),
    (".lora_linear_layer.down.weight", "down"),
    (".lora_linear_layer.up.weight", "up"),
    (".alpha", "alpha"),
)
_PROCESSOR = re.compile(
    r"(?P<owner>.{1,300}?)(?:\.processor)?\.(?P<part>to_q|to_k|to_v|to_out)_lora\.(?P<role>down|up)\.weight"
)
_PEFT = "base_model.model."
# What tensors of other methods are called, which are not a product of two matrices alone.
_OTHER_METHODS = (
    ("hada_", "LoHa"),
    ("lokr_", "LoKr"),
    ("oft_", "OFT"),
    ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"),
    ("lora_mid", "LoCon with a third matrix"),
    ("glora", "GLoRA"),
    (".on_input", "IA3"),
)
_DIFFERENCES = (".diff", ".diff_b", ".w_norm", ".b_norm")
_WIDTHS = {768: "SD 1.5", 1024: "SD 2", 1280: "the SDXL refiner", 2048: "SDXL"}
_TRANSFORMERS = re.compile(r"(?:^|[._])(?:double_blocks|single_blocks|single_transformer_blocks)[._]")
_OTHER_TRANSFORMERS = re.compile(
    r"^(?:lora_)?transformer[._]|joint_blocks|^(?:diffusion_model\.)?(?:blocks|layers)\."
)
_CROSS_ATTENTION = re.compile(r"attn2[._]to_[kv]$")
_SELF_ATTENTION = re.compile(r"(?:^|[._])attn1[._]")
_TEXT = re.compile(r"^(?:lora_te|text_encoder|text_encoders\.)")


class Pair(NamedTuple):
    """The shapes of a layer's two matrices: (rank, in, …) and (out, rank, …)."""

    down: tuple[int, ...]
    up: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """Return how many weights the layer has."""
        count = self.up[0]
        for side in self.down[1:]:
            count *= side
        return count


def split_key(key: str) -> tuple[str, Role] | None:
    """Return the layer that a tensor belongs to, by its name in the file, and what it is; None if unknown."""
    key = key.removeprefix(_PEFT)
    processor = _PROCESSOR.fullmatch(key)
    if processor:
        part = "to_out.0" if processor["part"] == "to_out" else processor["part"]
        return f"{processor['owner']}.{part}", processor["role"]
    for ending, role in _ROLES:
        if key.endswith(ending) and len(key) > len(ending):
            return key.removesuffix(ending), role
    return None


def pairs_of(shapes: Mapping[str, Sequence[int]]) -> tuple[dict[str, Pair], tuple[str, ...]]:
    """Return the complete pairs of a file by layer, and the names of the tensors that belong to none.

    shapes: of the file's tensors by name.
    """
    found: dict[str, dict[Role, str]] = {}
    unknown = []
    for key in shapes:
        split = split_key(key)
        if split is None or split[1] in found.get(split[0], {}):
            unknown.append(key)
        else:
            found.setdefault(split[0], {})[split[1]] = key
    pairs: dict[str, Pair] = {}
    for layer, keys in found.items():
        if "down" in keys and "up" in keys:
            pair = Pair(tuple(shapes[keys["down"]]), tuple(shapes[keys["up"]]))
            if _is_product(pair):
                pairs[layer] = pair
                continue
        unknown += keys.values()
    return pairs, tuple(unknown)


def _is_product(pair: Pair) -> bool:
    down, up = pair
    return (
        len(down) in (2, 4)
        and len(up) in (2, 4)
        and min(*down, *up) > 0
        and down[0] == up[1]
        and set(up[2:]) <= {1}
    )


def other_method(keys: Iterable[str]) -> str | None:
    """Return the name of a method that is not plain LoRA, None where these tensors show none."""
    keys = tuple(keys)
    found = next((name for mark, name in _OTHER_METHODS if any(mark in key for key in keys)), None)
    return found or ("full difference" if any(key.endswith(_DIFFERENCES) for key in keys) else None)


def family_of(pairs: Mapping[str, Pair]) -> tuple[str, int | None]:
    """Return what model family a file's layers are of, "" where they do not say, and its text's width."""
    if any(map(_TRANSFORMERS.search, pairs)):
        return "FLUX", None
    if any(map(_OTHER_TRANSFORMERS.search, pairs)):
        return "a transformer model", None
    width = next((pair.down[1] for layer, pair in pairs.items() if _CROSS_ATTENTION.search(layer)), None)
    if width is not None:
        return _WIDTHS.get(width, "another model"), width
    return ("SD 1.5", None) if any(layer.startswith("lora_te_") for layer in pairs) else ("", None)


def is_self_attention(layer: str) -> bool:
    """Return whether a layer of the UNet belongs to a self-attention."""
    return _SELF_ATTENTION.search(layer) is not None


def is_text(layer: str) -> bool:
    """Return whether a layer, by its name in a file, belongs to a text encoder."""
    return _TEXT.match(layer) is not None


def aliases(part: str, path: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that files have for a layer.

    Args:
        part: "unet", "text_encoder" or "text_encoder_2".
        path: the layer's place in the part.
        config: the UNet's.
    """
    if part == "unet":
        original = original_path(path, config)
        yield f"unet.{path}"
        yield path
        yield f"lora_unet_{path.replace('.', '_')}"
        if original is not None:
            yield f"lora_unet_{original.replace('.', '_')}"
            yield f"diffusion_model.{original}"
            yield f"model.diffusion_model.{original}"
        return
    short, clip = ("te1", "clip_l") if part == "text_encoder" else ("te2", "clip_g")
    # Some versions of transformers keep the layers one level higher.
    full = path if path.startswith("text_model.") else f"text_model.{path}"
    yield f"{part}.{full}"
    yield f"{part}.{path}"
    yield f"lora_{short}_{path.replace('.', '_')}"
    yield f"lora_{short}_{full.replace('.', '_')}"
    yield f"text_encoders.{clip}.transformer.{full}"


_TOP = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_IN_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_IN_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_IN_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def original_path(path: str, config: Mapping[str, Any]) -> str | None:
    """Return a UNet layer's place in the layout of single files, None for one that has none there.

    Args:
        path: its place in diffusers' UNet2DConditionModel.
        config: layers_per_block and up_block_types are read.
    """
    if path in _TOP:
        return _TOP[path]
    middle = _IN_MIDDLE.fullmatch(path)
    if middle:
        kind, number, rest = middle[1], int(middle[2]), middle[3]
        return f"middle_block.{2 * number + (kind == 'attentions')}.{_inner(kind, rest)}"
    block = _IN_BLOCK.fullmatch(path)
    if not block:
        return None
    side, i, kind, j, rest = block[1], int(block[2]), block[3], int(block[4]), block[5]
    layers = config["layers_per_block"]
    layers = layers if isinstance(layers, int) else max(layers)
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(i + 1) * (layers + 1)}.0.op"
        return f"input_blocks.{1 + i * (layers + 1) + j}.{int(kind == 'attentions')}.{_inner(kind, rest)}"
    if kind == "upsamplers":
        after = 2 if "CrossAttn" in config["up_block_types"][i] else 1
        return f"output_blocks.{i * (layers + 1) + layers}.{after}.conv"
    return f"output_blocks.{i * (layers + 1) + j}.{int(kind == 'attentions')}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    return _IN_RESNET.get(rest, rest) if kind == "resnets" else rest
