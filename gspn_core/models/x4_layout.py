"""What Stable Diffusion's x4 upscaler is made of, in full size and small, and its folder of configurations.

Imports no torch and holds no weights. The full size has the numbers of the public configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gspn_core.models.layout import SizeName, text_config, vocabulary_size, write_json, write_tokenizers
from gspn_core.models.x4 import PIPELINE

PARTS = ("text_encoder", "unet", "vae")
_UNET = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 7,
    "out_channels": 4,
    "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
    "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
    "only_cross_attention": (True, True, True, False),
    "num_class_embeds": 1000,
    "use_linear_projection": True,
}
_VAE = {
    "_class_name": "AutoencoderKL",
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "latent_channels": 4,
    "scaling_factor": 0.08333,
}
_NOISE = {
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
_SCHEDULER = {
    "_class_name": "DDIMScheduler",
    **_NOISE,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
_LOW_RES_SCHEDULER = {"_class_name": "DDPMScheduler", **_NOISE, "clip_sample": True}

X4_LAYOUTS: Mapping[SizeName, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "full": {
            "unet": {
                **_UNET,
                "sample_size": 128,
                "block_out_channels": (256, 512, 512, 1024),
                "layers_per_block": 2,
                "attention_head_dim": 8,
                "cross_attention_dim": 1024,
            },
            "vae": {
                **_VAE,
                "block_out_channels": (128, 256, 512),
                "layers_per_block": 2,
                "sample_size": 256,
            },
            "text_encoder": {
                "vocab_size": 49408,
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_hidden_layers": 23,
                "num_attention_heads": 16,
                "projection_dim": 512,
                "hidden_act": "gelu",
            },
        },
        "small": {
            "unet": {
                **_UNET,
                "sample_size": 16,
                "block_out_channels": (8, 16, 16, 16),
                "layers_per_block": 1,
                "norm_num_groups": 4,
                "attention_head_dim": 2,
                "cross_attention_dim": 16,
            },
            "vae": {
                **_VAE,
                "block_out_channels": (8, 8, 16),
                "layers_per_block": 1,
                "norm_num_groups": 4,
                "sample_size": 64,
            },
            "text_encoder": {
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "projection_dim": 16,
                "hidden_act": "gelu",
            },
        },
    }
)


def write_x4_configs(folder: Path, size: SizeName) -> None:
    """Write everything of an x4 upscaler's folder but its weights."""
    layout = X4_LAYOUTS[size]
    words = vocabulary_size(layout["text_encoder"])
    index = {
        "_class_name": PIPELINE,
        "low_res_scheduler": ("diffusers", "DDPMScheduler"),
        "scheduler": ("diffusers", "DDIMScheduler"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
        "max_noise_level": 350,
    }
    text = text_config(layout["text_encoder"], words=words)
    write_json(folder / "model_index.json", index)
    write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    write_json(folder / "low_res_scheduler" / "scheduler_config.json", _LOW_RES_SCHEDULER)
    write_json(folder / "unet" / "config.json", layout["unet"])
    write_json(folder / "vae" / "config.json", layout["vae"])
    write_json(
        folder / "text_encoder" / "config.json",
        {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **text},
    )
    write_tokenizers(folder, words, ("tokenizer",))
