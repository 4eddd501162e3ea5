"""The UNet's layers on a CPU, joined and laid out so that a map is read and written less often.

With bfloat16 instructions oneDNN can add a bias or a residual, multiply by a gate or take a GELU while a
convolution's or a projection's results are still in registers; diffusers' layers do each in a pass of its
own. The same formulas, rounded less often. And a map whose channels lie last need not be copied for the next
convolution. Knows diffusers' residual blocks, transformers, feed-forwards, cross-attentions and torch's
projections; any other layer, and any with an option that these lack, is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional

from gspn_core.attention.full_weight import is_kept_whole

# A method of diffusers' Transformer2DModel: the last projection, and the tokens as a map again.
_LAST_PART = "_get_output_for_continuous_inputs"
# Keys are padded to a multiple of this many: whole rows of the matrix unit's tiles.
_KEY_UNIT = 16


@contextmanager
def fused_layers(unet: nn.Module) -> Iterator[None]:
    """Run the `with` block with joined layers where they are known to help; leave the UNet as it was found.

    They are used in inference, in bfloat16 on a CPU whose torch has oneDNN's joined operations. On any CPU
    maps keep their channels last through the transformers.
    """
    changed: list[tuple[nn.Module, str]] = []
    try:
        for module, name, function in _replacements(unet):
            setattr(module, name, partial(function, module))
            changed.append((module, name))
        yield
    finally:
        for module, name in changed:
            delattr(module, name)


def _replacements(unet: nn.Module) -> Iterator[tuple[nn.Module, str, Callable[..., Tensor]]]:
    """Yield the modules that run another way here: each with the name of a method and what stands for it."""
    on_cpu, joined = next(unet.parameters()).device.type == "cpu", _helps(unet)
    for module in list(unet.modules()):
        if on_cpu and isinstance(module, Transformer2DModel) and _LAST_PART not in vars(module):
            if module.is_input_continuous and module.use_linear_projection:
                yield module, _LAST_PART, _with_channels_last
            continue
        forward = _forward_of(module) if joined else None
        if forward is not None:
            yield module, "forward", forward


def _helps(unet: nn.Module) -> bool:
    first = next(unet.parameters())
    return (
        first.device.type == "cpu"
        and first.dtype == torch.bfloat16
        and not (unet.training or torch.is_grad_enabled())
        and torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _forward_of(module: nn.Module) -> Callable[..., Tensor] | None:
    """Return the joined forward of a layer, None where it has none or runs in another way already."""
    if "forward" in vars(module):
        return None
    if isinstance(module, ResnetBlock2D):
        plain = module.time_embedding_norm == "default" and not module.skip_time_act
        plain = plain and module.upsample is None and module.downsample is None
        plain = plain and isinstance(module.nonlinearity, nn.SiLU) and module.output_scale_factor == 1.0
        return _residual_block if plain and module.time_emb_proj is not None else None
    if isinstance(module, FeedForward):
        gate, middle, last = module.net[0], module.net[1:-1], module.net[-1]
        plain = isinstance(gate, GEGLU) and isinstance(last, nn.Linear) and last.bias is not None
        plain = plain and gate.proj.bias is not None and all(isinstance(m, nn.Dropout) for m in middle)
        plain = plain and is_kept_whole(gate.proj) and is_kept_whole(last)
        return _feed_forward if plain else None
    if type(module) is nn.Linear:
        plain = module.bias is not None and is_kept_whole(module) and module.weight.dtype == torch.bfloat16
        return _linear if plain else None
    if isinstance(module, Attention):
        plain = type(module.processor) is AttnProcessor2_0 and module.is_cross_attention
        plain = plain and module.norm_q is None and module.group_norm is None and module.spatial_norm is None
        plain = plain and not module.norm_cross and not module.residual_connection
        return _cross_attention if plain and module.rescale_output_factor == 1.0 else None
    return None


def _with_channels_last(
    module: Transformer2DModel,
    hidden_states: Tensor,
    residual: Tensor,
    batch_size: int,
    height: int,
    width: int,
    inner_dim: int,
) -> Tensor:
    """Return residual + W_out·tokens, (B, C, H, W), the tokens' memory being the map's with channels last.

    diffusers copies it into a map without; the sum then is one too, and so is all that follows up to the next
    convolution, which copies it back.
    """
    tokens = module.proj_out(hidden_states)
    return tokens.reshape(batch_size, height, width, inner_dim).permute(0, 3, 1, 2) + residual


def _linear(layer: nn.Linear, tokens: Tensor) -> Tensor:
    """Return tokens (…, C) times W plus the bias, added in oneDNN's own pass: no copy of it per token."""
    return torch.ops.mkldnn._linear_pointwise(tokens, layer.weight, layer.bias, "none", [], "")


def _residual_block(block: ResnetBlock2D, input_tensor: Tensor, temb: Tensor, *_: object) -> Tensor:
    """Return x + conv2(silu(norm2(conv1(silu(norm1(x))) + W·silu(temb)))), (B, C, H, W)."""
    hidden = functional.silu(block.norm1(input_tensor), inplace=True)
    hidden = block.conv1(hidden)
    hidden += block.time_emb_proj(functional.silu(temb))[:, :, None, None]
    hidden = functional.silu(block.norm2(hidden), inplace=True)
    shortcut = input_tensor if block.conv_shortcut is None else block.conv_shortcut(input_tensor)
    conv = block.conv2
    return torch.ops.mkldnn._convolution_pointwise.binary(
        hidden, shortcut.contiguous(memory_format=torch.channels_last), conv.weight, conv.bias,
        conv.padding, conv.stride, conv.dilation, conv.groups, "add", 1.0, None, [], None,
    )  # fmt: skip


def _feed_forward(layer: FeedForward, hidden_states: Tensor, *_: object, **__: object) -> Tensor:
    """Return W₂(W_v x · gelu(W_g x)), (B, N, C)."""
    first, last = layer.net[0].proj, layer.net[-1]
    value, gate = first.weight.chunk(2)
    value_bias, gate_bias = first.bias.chunk(2)
    ops = torch.ops.mkldnn
    gated = ops._linear_pointwise(hidden_states, gate, gate_bias, "gelu", [], "none")
    gated = ops._linear_pointwise.binary(hidden_states, gated, value, value_bias, "mul")
    return ops._linear_pointwise(gated, last.weight, last.bias, "none", [], "")


def _cross_attention(
    layer: Attention,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor | None = None,
    attention_mask: Tensor | None = None,
    **_: object,
) -> Tensor:
    """Return attention to the text, (B, N, C), over keys padded to whole tiles and masked there."""
    B, N, _C = hidden_states.shape
    text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
    L = text.shape[1]
    padding = -L % _KEY_UNIT
    query, key, value = layer.to_q(hidden_states), layer.to_k(text), layer.to_v(text)
    query, key, value = (
        tensor.view(B, -1, layer.heads, tensor.shape[-1] // layer.heads).transpose(1, 2)
        for tensor in (query, key, value)
    )
    if padding and attention_mask is None:
        key, value = (functional.pad(tensor, (0, 0, 0, padding)) for tensor in (key, value))
        attention_mask = query.new_zeros(1, 1, 1, L + padding)
        attention_mask[..., L:] = -torch.inf
    mixed = functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=layer.scale)
    mixed = mixed.transpose(1, 2).reshape(B, N, -1)
    return layer.to_out[0](mixed)
