"""The embedded model's networks: an SDXL in miniature, its tokenizer, its scheduler."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

LATENT_FACTOR = 8
LATENT_CHANNELS = 4
MAX_TOKENS = 77
TIME_IDS = 6
START, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """Widths and depths of the embedded model; the defaults are those of the published one.

    base_px is the side of a training image. The widths of a transformer block are multiples of head_dim.
    """

    base_px: int = 256
    vae_channels: tuple[int, ...] = (32, 64, 96, 128)
    vae_layers: int = 1
    unet_channels: tuple[int, ...] = (64, 128, 192)
    unet_layers: int = 1
    transformer_layers: tuple[int, ...] = (1, 1, 1)
    head_dim: int = 32
    norm_groups: int = 16
    text_widths: tuple[int, int] = (64, 96)
    text_layers: int = 3
    time_embed_dim: int = 32

    @property
    def latent_px(self) -> int:
        return self.base_px // LATENT_FACTOR


def build_vae(config: NetConfig) -> AutoencoderKL:
    """Build the autoencoder: 8× smaller latents of 4 channels, no attention, so any size decodes."""
    depth = len(config.vae_channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=config.vae_channels,
        layers_per_block=config.vae_layers,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=config.norm_groups // 2,
        sample_size=config.base_px,
        scaling_factor=1.0,
        force_upcast=False,
        mid_block_add_attention=False,
    )


def build_unet(config: NetConfig) -> UNet2DConditionModel:
    """Build SDXL's UNet in miniature: no attention at the top, text_time micro-conditioning."""
    pooled = config.text_widths[1]
    return UNet2DConditionModel(
        sample_size=config.latent_px,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=config.unet_channels,
        layers_per_block=config.unet_layers,
        transformer_layers_per_block=config.transformer_layers,
        # Misnamed in diffusers: it is the number of heads of each block, not their width.
        attention_head_dim=tuple(width // config.head_dim for width in config.unet_channels),
        use_linear_projection=True,
        cross_attention_dim=sum(config.text_widths),
        addition_embed_type="text_time",
        addition_time_embed_dim=config.time_embed_dim,
        projection_class_embeddings_input_dim=pooled + TIME_IDS * config.time_embed_dim,
        norm_num_groups=config.norm_groups,
    )


def build_text_encoders(
    config: NetConfig, tokenizer: CLIPTokenizer
) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Build the two CLIP text encoders; SDXL uses the penultimate layer of both."""

    def text_config(width: int) -> CLIPTextConfig:
        return CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=config.text_layers,
            num_attention_heads=max(1, width // config.head_dim),
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )

    first, second = config.text_widths
    return CLIPTextModel(text_config(first)), CLIPTextModelWithProjection(text_config(second))


def build_scheduler() -> EulerDiscreteScheduler:
    """Build the sampler: SDXL's betas, epsilon, trailing timesteps so that few steps start at pure noise."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        timestep_spacing="trailing",
    )


def build_tokenizer(corpus: Iterable[str], merges: int = 600) -> CLIPTokenizer:
    """Learn byte pairs on the corpus and build CLIP's tokenizer from them.

    The common words of the corpus become one token each; all other words are still encoded as bytes.

    Raises:
        RuntimeError: the tokenizer ignored the vocabulary (transformers ignores unknown arguments).
    """
    pairs = _learn_merges(Counter(word for text in corpus for word in text.lower().split()), merges)
    letters = sorted(_byte_letters())
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in pairs]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*tokens, START, END]))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=MAX_TOKENS)
    if len(tokenizer) != len(vocabulary):
        raise RuntimeError(f"the tokenizer holds {len(tokenizer)} tokens, expected {len(vocabulary)}.")
    return tokenizer


def _byte_letters() -> list[str]:
    """Return the 256 printable letters that byte-level BPE writes for bytes (Radford et al., 2019)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def _learn_merges(words: Counter[str], limit: int) -> list[tuple[str, str]]:
    """Merge the most frequent neighbouring pair repeatedly (Sennrich et al., 2016)."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        plain = "".join(letter for letter in word if letter.isascii() and letter.isalpha())
        if plain:
            counts[plain] += count
    spelt = {word: [*word[:-1], word[-1] + "</w>"] for word in counts}
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in spelt.items():
            for pair in zip(parts, parts[1:], strict=False):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelt = {word: _merge(parts, best) for word, parts in spelt.items()}
    return merges


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def build_pipeline(
    vae: nn.Module, unet: nn.Module, encoders: tuple[nn.Module, nn.Module], tokenizer: CLIPTokenizer
) -> StableDiffusionXLPipeline:
    """Build the pipeline. The unconditional prompt is the encoded empty string, as in training."""
    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=encoders[0],
        text_encoder_2=encoders[1],
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def encode_prompts(
    tokenizer: CLIPTokenizer, encoders: tuple[nn.Module, nn.Module], prompts: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode prompts as SDXL's pipeline does.

    Returns: prompt_embeds (B, 77, both widths), pooled_prompt_embeds (B, second width).
    """
    ids = tokenizer(
        prompts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    first = encoders[0](ids, output_hidden_states=True)
    second = encoders[1](ids, output_hidden_states=True)
    return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds


@torch.no_grad()
def fold_latent_statistics(vae: AutoencoderKL, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Make the latents zero-mean and unit-variance per channel without changing the decoded picture.

    quant_conv gives (z - mean)/std and log-variance - 2·log std; post_quant_conv undoes it. mean, std: (4,).
    """
    quant, post = vae.quant_conv, vae.post_quant_conv
    channels = mean.numel()
    quant.weight[:channels] /= std[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / std
    quant.bias[channels:] -= 2 * std.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= std[None, :, None, None]
