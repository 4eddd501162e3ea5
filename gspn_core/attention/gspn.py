"""The GSPN token mixer: four line scans with gates made from the tokens, in place of a self-attention.

Knows one layer. Which layers of a UNet get one, and how a layer learns the height and width of its map,
is `adapter`'s matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn.functional import linear

from gspn_core.attention.full_weight import full_weight
from gspn_core.errors import BadSetting, BadTensor
from gspn_core.ops import merge_line_scan
from gspn_core.ops.line_scan import Backend
from gspn_core.ops.prepare import DIRECTIONS, GATINGS, Direction, Gating

SharedWeights = Literal["all", "heads", "none"]

# Without gradients, one tensor of a channel block may take about this much; six of them live at once.
# On the CPU a block that stays in the cache is also the fastest.
_BLOCK_BYTES = {"cpu": 8 * 2**20}
_DEVICE_BLOCK_BYTES = 128 * 2**20


@dataclass(frozen=True, kw_only=True)
class GSPNConfig:
    """What a mixer is made of.

    Attributes:
        proxy_ratio: channels per proxy channel; gates and neighbour weights are made from the proxies.
        scan_ratio: attention channels per scanned channel; 1 scans all, more is GSPN-2's compact form.
        chunk_size: lines between restarts of the state, None for a scan from edge to edge.
        gating: "convex" keeps the state within the values at every size; "free" is the published form.
        shared_weights: channels with the same neighbour weights: "all" (GSPN-2), of a head, "none" (GSPN).
    """

    proxy_ratio: int = 8
    scan_ratio: int = 2
    chunk_size: int | None = None
    gating: Gating = "convex"
    shared_weights: SharedWeights = "heads"

    def __post_init__(self) -> None:
        for name in ("proxy_ratio", "scan_ratio", "chunk_size"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1 or name == "chunk_size" and value is None):
                raise BadSetting(name, f"{name} must be a whole number from 1, got {value!r}.")
        for name, known in (("gating", GATINGS), ("shared_weights", get_args(SharedWeights))):
            if getattr(self, name) not in known:
                raise BadSetting(
                    name, f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}."
                )


class GSPNMixer(nn.Module):
    """Mix tokens with four line scans; called like a diffusers self-attention.

        p = W_down x                                         C -> C / proxy_ratio
        logits_d, gate_d, u_d = W_d p,  D = W_D p            per direction d; sigmoid of gate_d when convex
        y = D·v + sum over d of u_d·line_scan_d(v, gate_d, logits_d),   v = W_v x    C -> C / scan_ratio
        out = W_out y + b

    GSPN (arXiv 2501.12381) merges the directions with a 1×1 convolution; here u_d weighs every direction per
    channel and pixel already, and W_out follows, so the merge is the sum, under which the four directions'
    D are one. In the convex form the gate of the line at which the state starts is 1: every state is then a
    weighted mean of values, as if the first line went on for ever beyond the edge, and its scale is the same
    in a small and in a large map.

    Attributes:
        map_size: (height, width) of the next token map; height·width must be the number of tokens.
        block_channels: scanned channels that exist at once without gradients; None decides by size.
        backend: which line scan computes it, see `line_scan`.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        inner_channels: int | None = None,
        config: GSPNConfig | None = None,
    ) -> None:
        """Make a mixer of `channels` wide tokens whose output is zero until it is trained.

        Args:
            channels: width of the tokens, in and out.
            heads: groups of scanned channels, which share neighbour weights when the config says so.
            inner_channels: width of the values, heads times the head's width; None means channels.
            config: None means GSPNConfig().

        Raises:
            BadSetting: heads that do not divide the scanned channels.
        """
        super().__init__()
        self.config = config = GSPNConfig() if config is None else config
        V = (channels if inner_channels is None else inner_channels) // config.scan_ratio
        if V < 1 or V % heads:
            raise BadSetting(
                "scan_ratio", f"the scanned channels must be a multiple of the {heads} heads, got {V}; "
                "choose a smaller scan_ratio."
            )  # fmt: skip
        P = max(1, channels // config.proxy_ratio)
        self.channels, self.heads, self.scan_channels = channels, heads, V
        self.weight_sets = {"all": 1, "heads": heads, "none": V}[config.shared_weights]
        self.map_size: tuple[int, int] | None = None
        self.block_channels: int | None = None
        self.backend: Backend = "auto"
        self.to_proxy = nn.Linear(channels, P)
        self.to_value = nn.Linear(channels, V, bias=False)
        # Rows: three logits per set of weights, then gate and u of every scanned channel.
        self.expand = nn.ModuleDict({d: nn.Linear(P, 3 * self.weight_sets + 2 * V) for d in DIRECTIONS})
        self.skip = nn.Linear(P, V)
        self.to_out = nn.Linear(V, channels)
        self._start_calm()

    @classmethod
    def from_attention(
        cls, attention: nn.Module, config: GSPNConfig | None = None, *, starts: bool = True
    ) -> GSPNMixer:
        """Make a mixer of a diffusers `Attention`'s shape, dtype and device.

        It starts with the attention's own value and output projections, or, where fewer channels are scanned,
        with the part of their product that weighs most, head by head; not so where `starts` is False, for
        one whose weights are read afterwards.

        Raises:
            BadSetting: a layer that does more than self-attention between two projections.
        """
        if not isinstance(attention, Attention):
            raise BadSetting(
                "target", f"a mixer needs a self-attention to replace, got {type(attention).__name__}."
            )
        C, V = attention.query_dim, attention.to_v.out_features
        if (
            attention.to_v.in_features != C
            or attention.inner_dim != V
            or attention.residual_connection
            or attention.rescale_output_factor != 1
        ):
            raise BadSetting("target", f"a mixer needs a plain self-attention {C} wide, got {attention!r}.")
        mixer = cls(C, heads=attention.heads, inner_channels=V, config=config)
        value = full_weight(attention.to_v)
        if starts:
            mixer._start_from(value, attention.to_out[0])
        return mixer.to(device=value.device, dtype=value.dtype)

    @torch.no_grad()
    def _start_from(self, to_v: Tensor, to_out: nn.Linear) -> None:
        """Take over value (V, C) and output (C, V) projections, as many channels a head as are scanned."""
        kept, outward = self.scan_channels // self.heads, full_weight(to_out)
        values, outputs = [], []
        for value, output in zip(to_v.chunk(self.heads), outward.chunk(self.heads, 1), strict=True):
            if kept < len(value):
                # The product's largest singular directions are the best projections of that many channels.
                left, sizes, right = torch.linalg.svd(output.float() @ value.float(), full_matrices=False)
                root = sizes[:kept].sqrt()
                value, output = root[:, None] * right[:kept], left[:, :kept] * root
            values.append(value)
            outputs.append(output)
        self.to_value.weight.copy_(torch.cat(values))
        self.to_out.weight.copy_(torch.cat(outputs, 1))
        if to_out.bias is not None:
            self.to_out.bias.copy_(to_out.bias)

    def _start_calm(self) -> None:
        """Start as the mean of four directional averages, with reaches from 2 to 32 pixels by channel."""
        V, sets = self.scan_channels, 3 * self.weight_sets
        per_head = V // self.heads
        share = 0.5 ** torch.linspace(1, 5, per_head).repeat(self.heads)
        gate = torch.logit(share) if self.config.gating == "convex" else share
        for layer in self.expand.values():
            nn.init.normal_(layer.weight, std=0.1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
            with torch.no_grad():
                layer.bias[sets : sets + V] = gate
                layer.bias[sets + V : sets + 2 * V] = 1 / len(DIRECTIONS)
        nn.init.normal_(self.skip.weight, std=0.1 / math.sqrt(self.skip.in_features))
        nn.init.zeros_(self.skip.bias)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        map_size: tuple[int, int] | None = None,
        **_: object,
    ) -> Tensor:
        """Mix hidden_states (B, N, C) over its map.

        Args:
            hidden_states: tokens in row-major order of the map.
            encoder_hidden_states: must be None; a mixer attends to nothing but its own tokens.
            attention_mask: must be None; a scan has no pairs of tokens to mask.
            map_size: (height, width) of the map, None for the attribute's.

        Other keywords of a diffusers attention (an adapter's scale…) concern cross-attention and are ignored.

        Returns:
            (B, N, C).

        Raises:
            BadTensor: a map size that is missing or is not N tokens, or an argument that must be None.
        """
        if encoder_hidden_states is not None or attention_mask is not None:
            raise BadTensor("a GSPN mixer takes no encoder_hidden_states or attention_mask; pass None.")
        H, W = self._checked_map_size(hidden_states.shape[1], map_size)
        tokens = hidden_states.transpose(1, 2)
        proxy = _project(self.to_proxy.weight, self.to_proxy.bias, tokens)
        step = self._heads_at_once(hidden_states)
        blocks = [range(h, min(h + step, self.heads)) for h in range(0, self.heads, step)]
        mixed = [self._mix_heads(tokens, proxy, heads, H, W) for heads in blocks]
        y = mixed[0] if len(mixed) == 1 else torch.cat(mixed, 1)
        return linear(y.transpose(1, 2), self.to_out.weight, self.to_out.bias)

    def _checked_map_size(self, N: int, map_size: tuple[int, int] | None) -> tuple[int, int]:
        map_size = self.map_size if map_size is None else map_size
        if map_size is None:
            raise BadTensor(
                f"map_size of {N} tokens is unknown; inject the adapter, or pass (height, width)."
            )
        H, W = map_size
        if H * W != N:
            raise BadTensor(f"map_size {H}×{W} must hold {N} tokens; pass the (height, width) of this map.")
        return H, W

    def _heads_at_once(self, hidden_states: Tensor) -> int:
        if torch.is_grad_enabled():
            return self.heads
        channels = self.block_channels
        if channels is None:
            limit = _BLOCK_BYTES.get(hidden_states.device.type, _DEVICE_BLOCK_BYTES)
            B, N, _C = hidden_states.shape
            channels = limit // max(1, 4 * B * N)
        return min(self.heads, max(1, channels * self.heads // self.scan_channels))

    def _mix_heads(self, tokens: Tensor, proxy: Tensor, heads: range, H: int, W: int) -> Tensor:
        """Return the channels (B, V, N) of some heads of y; one direction's gates exist at a time."""
        B = tokens.shape[0]
        width = self.scan_channels // self.heads
        V = len(heads) * width
        channels = slice(heads.start * width, heads.stop * width)
        value = _project(self.to_value.weight[channels], None, tokens)
        y = value * _project(self.skip.weight[channels], self.skip.bias[channels], proxy)
        x, y = value.view(B, V, H, W), y.view(B, V, H, W)
        for direction in DIRECTIONS:
            logits, gate, u = self._expand(direction, proxy, channels, heads)
            y = merge_line_scan(
                y,
                u.unflatten(2, (H, W)),
                x,
                gate.unflatten(2, (H, W)),
                logits.reshape(B, -1, 3, H, W),
                direction=direction,
                chunk_size=self.config.chunk_size,
                gating=self.config.gating,
                backend=self.backend,
            )
        return y.flatten(2)

    def _expand(
        self, direction: Direction, proxy: Tensor, channels: slice, heads: range
    ) -> tuple[Tensor, ...]:
        """Return logits (B, 3·sets, N), gate and u (B, V, N) for some of the channels."""
        layer, V, sets = self.expand[direction], self.scan_channels, 3 * self.weight_sets
        weight, bias = layer.weight, layer.bias
        if len(heads) < self.heads:
            first, last = {
                "all": (0, 3),
                "heads": (3 * heads.start, 3 * heads.stop),
                "none": (3 * channels.start, 3 * channels.stop),
            }[self.config.shared_weights]
            rows = [slice(first, last)]
            rows += [slice(sets + k * V + channels.start, sets + k * V + channels.stop) for k in range(2)]
            weight = torch.cat([weight[r] for r in rows])
            bias = torch.cat([bias[r] for r in rows])
            V, sets = channels.stop - channels.start, last - first
        return _project(weight, bias, proxy).split((sets, V, V), 1)


def _project(weight: Tensor, bias: Tensor | None, maps: Tensor) -> Tensor:
    """Return weight (O, I) times maps (B, I, N), plus bias (O,): (B, O, N), contiguous."""
    result = torch.bmm(weight.expand(maps.shape[0], -1, -1), maps)
    return result if bias is None else result.add_(bias[:, None])
