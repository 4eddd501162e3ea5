"""Prompts of any length and with weights, for CLIP text encoders that read 75 tokens at a time.

A prompt is cut into chunks of 75 tokens, at a comma if one is near, each encoded alone; the chunks' hidden
states follow one another (AUTOMATIC1111's wiki, "Infinite prompt length"). The pooled text is the first
chunk's, without weights.

The state h_i of a token is multiplied by its weight, and the chunk's mean magnitude is then restored:

    h'_i = w_i h_i · Σ|h| / Σ|w h|

The mean is that of absolute values, because the plain mean of these encoders' states is close to zero: with
it, prompts of which every word weighs 5 were multiplied by anything from -5 to 20 here, and the same is
reported of SDXL (AUTOMATIC1111/stable-diffusion-webui, pull request 14874).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor, nn
from transformers import CLIPTokenizer

from gspn_core.prompts import MAX_PROMPT_CHUNKS, parse_weights

# How far back from a chunk's end a comma is looked for, in tokens.
_BACK = 20


class Chunk(NamedTuple):
    """Tokens without start, end and padding, and the weight of each."""

    tokens: list[int]
    weights: list[float]


def room_of(tokenizer: CLIPTokenizer) -> int:
    """Return how many tokens a chunk has."""
    return tokenizer.model_max_length - 2


def count_tokens(tokenizer: CLIPTokenizer, text: str) -> int:
    """Return how many tokens a text without weights has."""
    return len(_tokens(tokenizer, text))


def chunks_of(tokenizer: CLIPTokenizer, prompt: str) -> list[Chunk]:
    """Return all chunks of a prompt, at least one, which may be empty."""
    room, chunks, comma = room_of(tokenizer), [Chunk([], [])], -1
    commas = {tokenizer.convert_tokens_to_ids(",</w>")} - {tokenizer.unk_token_id}
    for part in parse_weights(prompt):
        if part.text is None:
            chunks.append(Chunk([], []))
            comma = -1
            continue
        for token in _tokens(tokenizer, part.text):
            last = chunks[-1]
            if len(last.tokens) == room:
                # What follows the comma begins the next chunk, unless it is long.
                cut = comma + 1 if comma >= 0 and room - comma - 1 <= _BACK else room
                chunks.append(Chunk(last.tokens[cut:], last.weights[cut:]))
                del last.tokens[cut:], last.weights[cut:]
                last, comma = chunks[-1], -1
            last.tokens.append(token)
            last.weights.append(part.weight)
            if token in commas:
                comma = len(last.tokens) - 1
    return [chunk for chunk in chunks if chunk.tokens] or [Chunk([], [])]


def _tokens(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    return tokenizer(text, truncation=False, add_special_tokens=False, verbose=False).input_ids


def encode_chunks(
    pipeline: StableDiffusionXLPipeline, prompts: Sequence[str], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Encode prompts with both text encoders, all to the length of the longest, at most MAX_PROMPT_CHUNKS.

    Returns:
        embeds (B, L, D) and pooled (B, P).
    """
    embeds, pooled = [], None
    pairs = (
        (pipeline.tokenizer, pipeline.text_encoder),
        (pipeline.tokenizer_2, pipeline.text_encoder_2),
    )
    found = [
        [chunks_of(tokenizer, prompt)[:MAX_PROMPT_CHUNKS] for prompt in prompts] for tokenizer, _ in pairs
    ]
    # The two tokenizers of a model may count differently.
    length = max(len(chunks) for each in found for chunks in each)
    for (tokenizer, encoder), each in zip(pairs, found, strict=True):
        rows = [chunks + [Chunk([], [])] * (length - len(chunks)) for chunks in each]
        flat = [chunk for row in rows for chunk in row]
        hidden, first = _encoded(tokenizer, encoder, flat, device)
        embeds.append(hidden.reshape(len(prompts), -1, hidden.shape[-1]))
        pooled = first[::length]
    return torch.cat(embeds, dim=-1), pooled


def _encoded(
    tokenizer: CLIPTokenizer, encoder: nn.Module, chunks: Sequence[Chunk], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the weighted penultimate states (chunks, 77, width) and the encoder's first output."""
    room, ids, weights = room_of(tokenizer), [], []
    for chunk in chunks:
        padding = room - len(chunk.tokens)
        ids.append(
            [tokenizer.bos_token_id, *chunk.tokens, tokenizer.eos_token_id]
            + [tokenizer.pad_token_id] * padding
        )
        weights.append([1.0, *chunk.weights, *[1.0] * (padding + 1)])
    output = encoder(torch.tensor(ids, device=device), output_hidden_states=True)
    hidden, factor = output.hidden_states[-2], torch.tensor(weights, device=device)[..., None]
    if not bool((factor != 1).any()):
        return hidden, output[0]
    # The start has the weight 1, so that no chunk is all zeros.
    weighted = hidden.float() * factor
    before, after = (states.abs().mean(dim=(1, 2), keepdim=True) for states in (hidden.float(), weighted))
    changed = (factor != 1).any(dim=1, keepdim=True)
    return torch.where(changed, weighted * (before / after), hidden.float()).to(hidden.dtype), output[0]
