"""A model's layers on a CPU, joined and laid out so that a map is read and written less often.

oneDNN can add a bias or a residual, multiply by a gate or take a GELU while a convolution's or a projection's
results are still in registers; diffusers' layers do each in a pass of its own. In float32 a normalization
with the SiLU after it is one operation (`group_norm_silu`), and a convolution of a map made twice as large
reads the small map. The same formulas, rounded less often. And a map whose channels are last need not be
copied for the next convolution. Knows diffusers' residual blocks, upsamplers, transformers, feed-forwards,
cross-attentions and torch's projections; any other layer, and any with an option that these lack, is left
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional

from gspn_core.attention.full_weight import is_kept_whole
from gspn_core.ops.norm import group_norm_silu

# A method of diffusers' Transformer2DModel: the last projection, and the tokens as a map again.
_LAST_PART = "_get_output_for_continuous_inputs"
# Keys are padded to a multiple of this many: whole rows of the matrix unit's tiles.
_KEY_UNIT = 16
# A map of fewer pixels is faster made larger first than convolved four times.
_LEAST_PIXELS = 256
# A feed-forward's hidden layer of more numbers is made in parts of half as many, which stay in the cache.
_CACHED_NUMBERS = 1 << 21


@contextmanager
def fused_layers(model: nn.Module) -> Iterator[None]:
    """Run the `with` block with joined layers where they are known to help; leave the model as it was found.

    They are used in inference on a CPU whose torch has oneDNN's joined operations, in float32, and in
    bfloat16 where the processor has it. On any CPU a UNet's maps keep their channels last through the
    transformers.

    Args:
        model: a UNet, or an autoencoder.
    """
    changed: list[tuple[nn.Module, str]] = []
    try:
        for module, name, function in _replacements(model):
            setattr(module, name, partial(function, module))
            changed.append((module, name))
        yield
    finally:
        for module, name in changed:
            delattr(module, name)


def fused_autoencoder(vae: nn.Module, unet: nn.Module) -> AbstractContextManager[None]:
    """Return the context in which an autoencoder has joined layers, if its UNet is in float32.

    With a UNet in half precision it keeps its own, and pictures their bits.
    """
    return fused_layers(vae) if next(unet.parameters()).dtype == torch.float32 else nullcontext()


def _replacements(model: nn.Module) -> Iterator[tuple[nn.Module, str, Callable[..., Tensor]]]:
    """Yield the modules that run another way here: each with the name of a method and what stands for it."""
    first = next(model.parameters())
    joined = _helps(first) and not (model.training or torch.is_grad_enabled())
    for module in list(model.modules()):
        if first.device.type == "cpu" and isinstance(module, Transformer2DModel):
            if _LAST_PART not in vars(module) and module.is_input_continuous and module.use_linear_projection:
                yield module, _LAST_PART, _with_channels_last
            continue
        if joined and first.dtype == torch.float32 and _ends_with_silu(module):
            yield module.conv_norm_out, "forward", _norm_silu
            yield module.conv_act, "forward", _unchanged
        forward = _forward_of(module, first.dtype) if joined and "forward" not in vars(module) else None
        if forward is not None:
            yield module, "forward", forward


def _helps(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and (
            weight.dtype == torch.float32
            or weight.dtype == torch.bfloat16
            and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        )
    )


def _forward_of(module: nn.Module, dtype: torch.dtype) -> Callable[..., Tensor] | None:
    """Return the joined forward of a layer in a dtype, None where it has none."""
    if isinstance(module, ResnetBlock2D):
        if not _is_plain_residual(module):
            return None
        if dtype == torch.float32:
            return _residual_block
        return None if module.time_emb_proj is None else _residual_block_in_bfloat16
    if isinstance(module, FeedForward):
        if not _is_plain_feed_forward(module):
            return None
        return _feed_forward_in_float32 if dtype == torch.float32 else _feed_forward
    if type(module) is nn.Linear:
        plain = module.bias is not None and is_kept_whole(module) and module.weight.dtype == dtype
        if not plain:
            return None
        return _linear_in_float32 if dtype == torch.float32 else _linear
    if isinstance(module, Upsample2D):
        return _upsample if dtype == torch.float32 and _is_plain_upsampler(module) else None
    # Padded keys fill the tiles of the bfloat16 matrix unit; in float32 there is none.
    if isinstance(module, Attention) and dtype == torch.bfloat16:
        return _cross_attention if _is_plain_cross_attention(module) else None
    return None


def _is_plain_residual(module: ResnetBlock2D) -> bool:
    # An autoencoder's blocks have no time's embedding, whose place does not matter then.
    return (
        (module.time_embedding_norm == "default" or module.time_emb_proj is None)
        and module.time_embedding_norm in ("default", "group")
        and not module.skip_time_act
        and module.upsample is None
        and module.downsample is None
        and isinstance(module.nonlinearity, nn.SiLU)
        and module.output_scale_factor == 1.0
        and _is_plain_norm(module.norm1)
        and _is_plain_norm(module.norm2)
    )


def _is_plain_feed_forward(module: FeedForward) -> bool:
    gate, middle, last = module.net[0], module.net[1:-1], module.net[-1]
    return (
        isinstance(gate, GEGLU)
        and isinstance(last, nn.Linear)
        and last.bias is not None
        and gate.proj.bias is not None
        and all(isinstance(m, nn.Dropout) for m in middle)
        and is_kept_whole(gate.proj)
        and is_kept_whole(last)
    )


def _is_plain_upsampler(module: Upsample2D) -> bool:
    conv = getattr(module, "conv", None)
    return (
        type(conv) is nn.Conv2d
        and "forward" not in vars(conv)
        and module.interpolate
        and module.norm is None
        and conv.kernel_size == (3, 3)
        and conv.stride == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


def _is_plain_cross_attention(module: Attention) -> bool:
    return (
        type(module.processor) is AttnProcessor2_0
        and module.is_cross_attention
        and module.norm_q is None
        and module.group_norm is None
        and module.spatial_norm is None
        and not module.norm_cross
        and not module.residual_connection
        and module.rescale_output_factor == 1.0
    )


def _is_plain_norm(norm: nn.Module | None) -> bool:
    return type(norm) is nn.GroupNorm and norm.affine and "forward" not in vars(norm)


def _ends_with_silu(module: nn.Module) -> bool:
    """Return whether a module, a UNet or half of an autoencoder, ends with a normalization and a SiLU."""
    act = getattr(module, "conv_act", None)
    return (
        isinstance(act, nn.SiLU)
        and "forward" not in vars(act)
        and _is_plain_norm(getattr(module, "conv_norm_out", None))
    )


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


def _linear_in_float32(layer: nn.Linear, tokens: Tensor) -> Tensor:
    """Return what `_linear` does as one product of matrices."""
    flat = torch.addmm(layer.bias, tokens.reshape(-1, layer.in_features), layer.weight.t())
    return flat.view(*tokens.shape[:-1], layer.out_features)


def _norm_silu(
    norm: nn.GroupNorm, x: Tensor, *, shift: Tensor | None = None, inplace: bool = False
) -> Tensor:
    return group_norm_silu(
        x, norm.num_groups, norm.weight, norm.bias, eps=norm.eps, shift=shift, inplace=inplace
    )


def _unchanged(_module: nn.Module, x: Tensor) -> Tensor:
    return x


def _residual_block(block: ResnetBlock2D, input_tensor: Tensor, temb: Tensor | None, *_: object) -> Tensor:
    """Return x + conv2(silu(norm2(conv1(silu(norm1(x))) + W·silu(temb)))), (B, C, H, W)."""
    hidden = _convolution(block.conv1, _norm_silu(block.norm1, input_tensor))
    shift = None if block.time_emb_proj is None else block.time_emb_proj(functional.silu(temb))
    hidden = _norm_silu(block.norm2, hidden, shift=shift, inplace=True)
    if block.conv_shortcut is None:
        return _convolution_plus(block.conv2, hidden, input_tensor)
    return _add_convolution(block.conv2, hidden, _convolution(block.conv_shortcut, input_tensor))


def _residual_block_in_bfloat16(
    block: ResnetBlock2D, input_tensor: Tensor, temb: Tensor, *_: object
) -> Tensor:
    """Return what `_residual_block` does, normalized and activated by torch."""
    hidden = functional.silu(block.norm1(input_tensor), inplace=True)
    hidden = block.conv1(hidden)
    hidden += block.time_emb_proj(functional.silu(temb))[:, :, None, None]
    hidden = functional.silu(block.norm2(hidden), inplace=True)
    shortcut = input_tensor if block.conv_shortcut is None else block.conv_shortcut(input_tensor)
    return _convolution_plus(block.conv2, hidden, shortcut)


def _convolution(conv: nn.Conv2d, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return a layer's convolution by oneDNN, which torch leaves out for some small ones; weight: another."""
    return torch.ops.mkldnn._convolution_pointwise(
        x, conv.weight if weight is None else weight, conv.bias,
        conv.padding, conv.stride, conv.dilation, conv.groups, "none", [], None,
    )  # fmt: skip


def _convolution_plus(conv: nn.Conv2d, x: Tensor, shortcut: Tensor) -> Tensor:
    """Return a layer's convolution plus the shortcut, (B, C, H, W), added in oneDNN's own pass."""
    return torch.ops.mkldnn._convolution_pointwise.binary(
        x, shortcut.contiguous(memory_format=torch.channels_last), conv.weight, conv.bias,
        conv.padding, conv.stride, conv.dilation, conv.groups, "add", 1.0, None, [], None,
    )  # fmt: skip


def _add_convolution(conv: nn.Conv2d, x: Tensor, shortcut: Tensor) -> Tensor:
    """Return what `_convolution_plus` does, in the memory of the shortcut: no fresh pages for the sum."""
    return torch.ops.mkldnn._convolution_pointwise_.binary(
        shortcut.contiguous(memory_format=torch.channels_last), x, conv.weight, conv.bias,
        conv.padding, conv.stride, conv.dilation, conv.groups, "add", 1.0, None, [], None,
    )  # fmt: skip


def _upsample(layer: Upsample2D, hidden_states: Tensor, output_size: object = None, *_: object) -> Tensor:
    """Return the 3×3 convolution of the map made twice as large by repetition, (B, C, 2H, 2W).

    Of the nine numbers that a weight multiplies there, several are one. With their weights added up, the
    pixels of odd and even rows and columns are four 2×2 convolutions of the small map: 4/9 of the products.
    """
    conv, x = layer.conv, hidden_states
    B, _C, H, W = x.shape
    doubles = output_size is None or tuple(output_size) == (2 * H, 2 * W)
    if not doubles or H * W < _LEAST_PIXELS or (conv.dilation, conv.padding) != ((1, 1), (1, 1)):
        return type(layer).forward(layer, x, output_size)
    out = x.new_empty(B, H, 2, W, 2, conv.out_channels)
    for row, of_row in enumerate(_halves(conv.weight, 2)):
        for column, weight in enumerate(_halves(of_row, 3)):
            weight = weight.contiguous(memory_format=torch.channels_last)
            # Padding on both sides: one result more along each side than is wanted here.
            pixels = _convolution(conv, x, weight)[:, :, row : row + H, column : column + W]
            out[:, :, row, :, column] = pixels.permute(0, 2, 3, 1)
    return out.view(B, 2 * H, 2 * W, -1).permute(0, 3, 1, 2)


def _halves(weight: Tensor, along: int) -> tuple[Tensor, Tensor]:
    """Return the two weights of even and of odd places for the three along a dimension."""
    first, middle, last = weight.unbind(along)
    return torch.stack((first, middle + last), along), torch.stack((first + middle, last), along)


def _feed_forward(layer: FeedForward, hidden_states: Tensor, *_: object, **__: object) -> Tensor:
    """Return W₂(W_v x · gelu(W_g x)), (B, N, C)."""
    first, last = layer.net[0].proj, layer.net[-1]
    value, gate = first.weight.chunk(2)
    value_bias, gate_bias = first.bias.chunk(2)
    ops = torch.ops.mkldnn
    gated = ops._linear_pointwise(hidden_states, gate, gate_bias, "gelu", [], "none")
    gated = ops._linear_pointwise.binary(hidden_states, gated, value, value_bias, "mul")
    return ops._linear_pointwise(gated, last.weight, last.bias, "none", [], "")


def _feed_forward_in_float32(
    layer: FeedForward, hidden_states: Tensor, *args: object, **kwargs: object
) -> Tensor:
    """Return what `_feed_forward` does, in parts where the hidden layer of all tokens is beyond the cache."""
    tokens = hidden_states.reshape(-1, hidden_states.shape[-1])
    width = layer.net[-1].in_features
    if len(tokens) * width <= _CACHED_NUMBERS:
        return _feed_forward(layer, hidden_states, *args, **kwargs)
    out = tokens.new_empty(len(tokens), layer.net[-1].out_features)
    step = max(1, _CACHED_NUMBERS // 2 // width)
    for start in range(0, len(tokens), step):
        out[start : start + step] = _feed_forward(layer, tokens[start : start + step])
    return out.view(*hidden_states.shape[:-1], -1)


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
