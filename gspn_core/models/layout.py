"""What SDXL's parts are made of, in full size and small, and the folder of configurations they load from.

Imports no torch and holds no weights. The full size has the numbers of SDXL's public configurations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from gspn_core.models.catalog import WORLD_FOLDER

SizeName = Literal["full", "small"]
MAX_TOKENS = 77
_START_AND_END = ("<|startoftext|>", "<|endoftext|>")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The configurations of a model's parts by their names, without what every SDXL shares.

    Args:
        refiner: The UNet of a refiner for it, which takes the second text encoder alone.
    """

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    text_encoder_2: Mapping[str, Any]
    refiner: Mapping[str, Any]


_DOWN = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
_UP = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
_UNET = {
    "_class_name": "UNet2DConditionModel",
    "addition_embed_type": "text_time",
    "use_linear_projection": True,
    "down_block_types": _DOWN,
    "up_block_types": _UP,
}
_VAE = {
    "_class_name": "AutoencoderKL",
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "scaling_factor": 0.13025,
}
_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "interpolation_type": "linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "use_karras_sigmas": False,
}

LAYOUTS: Mapping[SizeName, Layout] = MappingProxyType(
    {
        "full": Layout(
            unet={
                **_UNET,
                "sample_size": 128,
                "block_out_channels": (320, 640, 1280),
                "layers_per_block": 2,
                "transformer_layers_per_block": (1, 2, 10),
                "attention_head_dim": (5, 10, 20),
                "cross_attention_dim": 2048,
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 1280 + 6 * 256,
            },
            vae={
                **_VAE,
                "block_out_channels": (128, 256, 512, 512),
                "layers_per_block": 2,
                "sample_size": 1024,
                "force_upcast": True,
            },
            text_encoder={
                "vocab_size": 49408,
                "hidden_size": 768,
                "intermediate_size": 3072,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "projection_dim": 768,
                "hidden_act": "quick_gelu",
            },
            text_encoder_2={
                "vocab_size": 49408,
                "hidden_size": 1280,
                "intermediate_size": 5120,
                "num_hidden_layers": 32,
                "num_attention_heads": 20,
                "projection_dim": 1280,
                "hidden_act": "gelu",
            },
            refiner={
                **_UNET,
                "sample_size": 128,
                "block_out_channels": (384, 768, 1536, 1536),
                "down_block_types": (*_DOWN, "DownBlock2D"),
                "up_block_types": ("UpBlock2D", *_UP),
                "layers_per_block": 2,
                "transformer_layers_per_block": 4,
                "attention_head_dim": (6, 12, 24, 24),
                "cross_attention_dim": 1280,
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 1280 + 5 * 256,
            },
        ),
        "small": Layout(
            unet={
                **_UNET,
                "sample_size": 8,
                "block_out_channels": (16, 32, 32),
                "layers_per_block": 1,
                "transformer_layers_per_block": (1, 1, 2),
                "norm_num_groups": 8,
                "attention_head_dim": (2, 4, 4),
                "cross_attention_dim": 16 + 24,
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 24 + 6 * 8,
            },
            vae={
                **_VAE,
                "block_out_channels": (8, 8, 16, 16),
                "layers_per_block": 1,
                "norm_num_groups": 4,
                "sample_size": 64,
                "force_upcast": False,
            },
            text_encoder={
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "projection_dim": 16,
                "hidden_act": "quick_gelu",
            },
            text_encoder_2={
                "hidden_size": 24,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "projection_dim": 24,
                "hidden_act": "gelu",
            },
            refiner={
                **_UNET,
                "sample_size": 8,
                "block_out_channels": (16, 32, 32),
                "layers_per_block": 1,
                "transformer_layers_per_block": (1, 1, 1),
                "norm_num_groups": 8,
                "attention_head_dim": (2, 4, 4),
                "cross_attention_dim": 24,
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 24 + 5 * 8,
            },
        ),
    }
)


def inpainting(layout: Layout) -> Layout:
    """Return a layout whose UNet also reads a mask and the latents of the picture around it."""
    channels = 2 * layout.vae["latent_channels"] + 1
    return replace(layout, unet={**layout.unet, "in_channels": channels})


def text_config(config: Mapping[str, Any], *, words: int) -> dict[str, Any]:
    """Return a text encoder's configuration for a tokenizer whose last two words are start and end."""
    return {
        "vocab_size": words,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": words - 1,
        **config,
    }


def write_configs(folder: Path, layout: Layout) -> None:
    """Write everything of an SDXL folder but its weights and tokenizers."""
    write_json(folder / "model_index.json", _index(inpaints="in_channels" in layout.unet))
    write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    write_json(folder / "unet" / "config.json", layout.unet)
    write_json(folder / "vae" / "config.json", layout.vae)
    words = vocabulary_size(layout.text_encoder)
    for name, kind in (("text_encoder", "CLIPTextModel"), ("text_encoder_2", "CLIPTextModelWithProjection")):
        config = text_config(getattr(layout, name), words=words)
        content = {"architectures": [kind], "model_type": "clip_text_model", **config}
        write_json(folder / name / "config.json", content)


def vocabulary_size(text_encoder: Mapping[str, Any]) -> int:
    """Return the words of a text encoder, by default those of the embedded model's tokenizer."""
    return text_encoder.get("vocab_size") or len(_embedded_tokenizer()["model"]["vocab"])


def write_tokenizers(folder: Path, words: int, names: Sequence[str] = ("tokenizer", "tokenizer_2")) -> None:
    """Write the embedded model's tokenizer under each name, padded to a vocabulary of that many words.

    The padding never occurs in a prompt; the start and end tokens keep the last two ids, as in CLIP's own.
    """
    tokenizer = _embedded_tokenizer()
    vocab = {word: i for word, i in tokenizer["model"]["vocab"].items() if word not in _START_AND_END}
    vocab |= {f"<|unused-{i}|>": i for i in range(len(vocab), words - len(_START_AND_END))}
    vocab |= {word: words - len(_START_AND_END) + i for i, word in enumerate(_START_AND_END)}
    tokenizer["model"]["vocab"] = vocab
    for token in tokenizer["added_tokens"]:
        token["id"] = vocab[token["content"]]
    start, end = _START_AND_END
    tokenizer["post_processor"] |= {"cls": [start, vocab[start]], "sep": [end, vocab[end]]}
    config = json.loads((WORLD_FOLDER / "tokenizer" / "tokenizer_config.json").read_text(encoding="utf-8"))
    for name in names:
        write_json(folder / name / "tokenizer.json", tokenizer)
        write_json(folder / name / "tokenizer_config.json", config)


def _index(*, inpaints: bool) -> dict[str, Any]:
    parts = {
        "scheduler": ("diffusers", "EulerDiscreteScheduler"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "tokenizer_2": ("transformers", "CLIPTokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
    }
    kind = "StableDiffusionXLInpaintPipeline" if inpaints else "StableDiffusionXLPipeline"
    return {"_class_name": kind, "force_zeros_for_empty_prompt": True, **parts}


def _embedded_tokenizer() -> dict[str, Any]:
    return json.loads((WORLD_FOLDER / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a configuration; make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
