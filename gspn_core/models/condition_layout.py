"""What published ControlNets and T2I-Adapters of SDXL are made of, for a UNet of any size.

Imports no torch and holds no weights. For SDXL's own UNet these are the numbers of the public configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

ControlLayout = Literal[
    "controlnet", "controlnet-mid", "controlnet-small", "controlnet-union", "controlnet-promax", "t2i-adapter"
]
CONTROL_LAYOUTS: tuple[ControlLayout, ...] = get_args(ControlLayout)
# What a ControlNet has as the UNet that it is a copy of.
_COPIED = (
    "block_out_channels",
    "layers_per_block",
    "attention_head_dim",
    "cross_attention_dim",
    "addition_embed_type",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
    "use_linear_projection",
)
_HINT = (16, 32, 96, 256)
_UNION_HINT = (48, 96, 192, 384)
# Kinds of pictures that the two published unions read.
_TYPES: Mapping[str, int] = MappingProxyType({"controlnet-union": 6, "controlnet-promax": 8})


def control_config(layout: ControlLayout, unet: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of such a network for a UNet of that configuration."""
    channels = tuple(unet["block_out_channels"])
    if layout == "t2i-adapter":
        return {
            "_class_name": "T2IAdapter",
            "adapter_type": "full_adapter_xl",
            "channels": (*channels, channels[-1]),
            "downscale_factor": 16,
            "in_channels": 3,
            "num_res_blocks": 2,
        }
    blocks = {"down_block_types": tuple(unet["down_block_types"])}
    blocks["transformer_layers_per_block"] = unet.get("transformer_layers_per_block", 1)
    if layout == "controlnet-small":
        blocks = {"down_block_types": ("DownBlock2D",) * len(channels)}
    if layout in ("controlnet-mid", "controlnet-small"):
        last = int(layout == "controlnet-mid")
        blocks["transformer_layers_per_block"] = (*(0,) * (len(channels) - 1), last)
    common = {
        **{name: unet[name] for name in _COPIED if name in unet},
        **blocks,
        "norm_num_groups": unet.get("norm_num_groups", 32),
    }
    if layout not in _TYPES:
        hint = _HINT if channels[0] >= _HINT[-1] else _narrow(_HINT, channels[0])
        return {"_class_name": "ControlNetModel", **common, "conditioning_embedding_out_channels": hint}
    hint = _UNION_HINT if channels[0] >= _HINT[-1] else _narrow(_UNION_HINT, channels[0])
    return {
        "_class_name": "ControlNetUnionModel",
        **common,
        "conditioning_embedding_out_channels": hint,
        "num_control_type": _TYPES[layout],
        "num_trans_channel": channels[0],
        "num_proj_channel": channels[0],
    }


def _narrow(channels: tuple[int, ...], first: int) -> tuple[int, ...]:
    """Return the channels of a small network in about the same proportion to its first block."""
    return tuple(max(4, count * first // 320) for count in channels)
