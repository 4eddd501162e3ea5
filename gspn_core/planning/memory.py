"""Peak memory and floating-point operations of one call of a network, from its sizes. Pure.

Each function below follows diffusers' forward line by line and keeps a tape of the tensors that are alive, so
that the peak is found at the moment where it occurs. Nothing here depends on a device's speed.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field

from gspn_core.planning.shapes import UNetShapes, VAEShapes
from gspn_core.settings import Mixer

# Bytes of one tensor of a block, as the mixers and the feed-forward split their work.
MIXER_BLOCK_BYTES = {"cpu": 8 * 2**20, "cuda": 128 * 2**20}
SMALL_MIXER_BLOCK_BYTES = 2 * 2**20
WINDOW_BLOCK_BYTES = {"cpu": 8 * 2**20, "cuda": 256 * 2**20}
FEED_FORWARD_CHUNKS = 16


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One call: peak elements without weights and input, elements of skip tensors, and operations."""

    elements: int
    skip_elements: int
    operations: float


@dataclass(frozen=True, kw_only=True)
class Call:
    """How the UNet is called: rows in the batch, and what is computed in blocks.

    element_bytes: of one number; decides how many fit into a block.
    """

    rows: int = 2
    mixer: Mixer = "attention"
    chunked: bool = False
    small_blocks: bool = False
    skips_on_host: bool = False
    device: str = "cpu"
    element_bytes: int = 2


@dataclass(kw_only=True)
class _Tape:
    """Elements alive now and at the peak, and the operations so far.

    copies: a GPU's group norm works on contiguous maps, so a channels-last map is copied before the norm and
    again before the convolution after it.
    """

    copies: bool = False
    now: int = 0
    peak: int = 0
    operations: float = 0.0
    skips: list[int] = field(default_factory=list)

    def take(self, elements: int) -> None:
        self.now += elements
        self.peak = max(self.peak, self.now)

    def drop(self, elements: int) -> None:
        self.now -= elements

    def swap(self, new: int, old: int) -> None:
        """Replace a tensor by a result made from it; both are alive for a moment."""
        self.take(new)
        self.drop(old)

    def norm(self, elements: int) -> None:
        copied = elements if self.copies else 0
        self.take(copied + elements)
        self.drop(copied)

    def convolve(self, new: int, old: int) -> None:
        copied = old if self.copies else 0
        self.take(copied + new)
        self.drop(copied + old)

    def matrix(self, rows: int, inner: int, columns: int) -> None:
        self.operations += 2.0 * rows * inner * columns


@functools.lru_cache(maxsize=4096)
def unet_cost(shapes: UNetShapes, height: int, width: int, call: Call) -> Cost:
    """Return what one call of the UNet on latents (rows, 4, height, width) costs."""
    tape = _Tape(copies=call.device == "cuda")
    channels, sizes = _down_blocks(tape, shapes, height, width, call)
    skips = sum(tape.skips)
    channels = _middle(tape, shapes, call, channels, sizes[-1])
    _up_blocks(tape, shapes, call, channels, sizes)
    return Cost(elements=tape.peak, skip_elements=skips, operations=tape.operations)


@functools.lru_cache(maxsize=1024)
def control_cost(shapes: UNetShapes, height: int, width: int, call: Call) -> Cost:
    """Return what one call of a ControlNet costs: a UNet's down blocks and middle block, with its residuals.

    skip_elements are the residuals, which stay until the UNet has added them; its picture is not counted.
    """
    tape, B = _Tape(copies=call.device == "cuda"), call.rows
    call = dataclasses.replace(call, mixer="attention", chunked=False, small_blocks=False)
    channels, sizes = _down_blocks(tape, shapes, height, width, call)
    residuals = sum(tape.skips) + B * channels * _area(sizes[-1])
    _middle(tape, shapes, call, channels, sizes[-1])
    # A convolution of 1×1 px makes a residual of each map, and the scale another of it.
    tape.take(2 * residuals)
    return Cost(elements=tape.peak, skip_elements=residuals, operations=tape.operations)


def _down_blocks(
    tape: _Tape, shapes: UNetShapes, height: int, width: int, call: Call
) -> tuple[int, list[tuple[int, int]]]:
    """Go through the first convolution and the down blocks; return the channels and each block's size."""
    B, sizes = call.rows, [(height, width)]
    first = shapes.channels[0]
    inputs = shapes.latent_channels + shapes.extra_channels
    tape.take(B * inputs * height * width)
    tape.take(B * first * height * width)
    tape.matrix(B * height * width, 9 * inputs, first)
    tape.skips = [B * first * height * width]
    channels = first
    for i, (layers, width_out) in enumerate(zip(shapes.down, shapes.channels, strict=True)):
        last = i == len(shapes.channels) - 1
        for _ in range(shapes.resnets[i]):
            _resnet(tape, B, channels, width_out, sizes[-1])
            channels = width_out
            if layers:
                _transformer(tape, shapes, call, channels, layers, sizes[-1], i)
            _skip(tape, B * channels * _area(sizes[-1]), call)
        if not last:
            h, w = sizes[-1]
            sizes.append((-(-h // 2), -(-w // 2)))
            tape.take(B * channels * _area(sizes[-1]))
            tape.matrix(B * _area(sizes[-1]), 9 * channels, channels)
            _skip(tape, B * channels * _area(sizes[-1]), call)
    return channels, sizes


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _skip(tape: _Tape, elements: int, call: Call) -> None:
    """Keep a skip tensor; with skips on the host only the first and the newest stay on the device."""
    tape.skips.append(elements)
    if call.skips_on_host and len(tape.skips) > 2:
        tape.drop(tape.skips[-2])


def _middle(tape: _Tape, shapes: UNetShapes, call: Call, channels: int, size: tuple[int, int]) -> int:
    B, depth = call.rows, len(shapes.channels) - 1
    elements = B * channels * _area(size)
    _resnet(tape, B, channels, channels, size)
    if shapes.middle:
        _transformer(tape, shapes, call, channels, shapes.middle, size, depth)
    _resnet(tape, B, channels, channels, size)
    tape.drop(elements)
    return channels


def _up_blocks(
    tape: _Tape, shapes: UNetShapes, call: Call, channels: int, sizes: list[tuple[int, int]]
) -> None:
    """Go through the up blocks; `sample` of the block's caller and its skips live until the block ends."""
    B, depth = call.rows, len(shapes.channels)
    for i, layers in enumerate(shapes.up):
        level = depth - 1 - i
        area, size = _area(sizes[level]), sizes[level]
        wide = shapes.channels[level]
        entered, held = B * channels * area, 0
        if call.skips_on_host:
            # All skips of the block come back together; the newest and the very first were never offloaded.
            back = tape.skips[-shapes.resnets[level] - 1 :]
            tape.take(sum(back) - (back[-1] if not i else 0) - (back[0] if not level else 0))
        for n in range(shapes.resnets[level] + 1):
            skip = tape.skips.pop()
            held += skip
            joined = channels + skip // (B * area)
            tape.take(B * joined * area)
            if n:
                tape.drop(B * channels * area)
            _resnet(tape, B, joined, wide, size)
            tape.drop(B * joined * area)
            channels = wide
            if layers:
                _transformer(tape, shapes, call, channels, layers, size, level)
        if level:
            larger = _area(sizes[level - 1])
            tape.swap(B * channels * larger, B * channels * area)
            tape.take(B * channels * larger)
            tape.matrix(B * larger, 9 * channels, channels)
            tape.drop(B * channels * larger)
        tape.drop(entered + held)
    last = B * channels * _area(sizes[0])
    tape.swap(last, last)
    tape.swap(last, last)
    tape.matrix(B * _area(sizes[0]), 9 * channels, shapes.latent_channels)


def _resnet(tape: _Tape, B: int, inputs: int, outputs: int, size: tuple[int, int]) -> None:
    """Norm, SiLU, convolution, twice; the caller keeps the input, the output stays alive."""
    N = B * _area(size)
    own = outputs * N
    tape.norm(inputs * N)
    tape.swap(inputs * N, inputs * N)
    tape.convolve(own, inputs * N)
    tape.matrix(N, 9 * inputs, outputs)
    tape.swap(own, own)
    tape.norm(own)
    tape.drop(own)
    tape.swap(own, own)
    tape.convolve(own, own)
    tape.matrix(N, 9 * outputs, outputs)
    if inputs != outputs:
        tape.take(own)
        tape.matrix(N, inputs, outputs)
    tape.take(own)
    tape.take(own)
    tape.drop(2 * own + (own if inputs != outputs else 0))


def _transformer(
    tape: _Tape,
    shapes: UNetShapes,
    call: Call,
    channels: int,
    layers: int,
    size: tuple[int, int],
    level: int,
) -> None:
    """Norm, project in, the layers, project out, add; the output replaces the input."""
    N = call.rows * _area(size)
    own = channels * N
    tape.take(own)
    tape.swap(own, own)
    tape.matrix(N, channels, channels)
    for _ in range(layers):
        _layer(tape, shapes, call, channels, size, level)
    tape.take(own)
    tape.matrix(N, channels, channels)
    tape.swap(own, own)
    tape.take(own)
    tape.drop(3 * own)


def _layer(
    tape: _Tape, shapes: UNetShapes, call: Call, channels: int, size: tuple[int, int], level: int
) -> None:
    """Self-attention, cross-attention, feed-forward; the caller keeps the input until the end."""
    N = call.rows * _area(size)
    own = channels * N
    tape.take(own)
    _mixer(tape, shapes, call, channels, size, level)
    # The result of the mixer, and the sum with the input.
    tape.take(2 * own)
    tape.swap(own, own)
    # Cross-attention: the query, its result and the projected result.
    tape.take(3 * own)
    tape.drop(3 * own)
    tape.operations += 4.0 * N * shapes.text_tokens * channels
    tape.matrix(N, channels, 2 * channels)
    tape.matrix(call.rows * shapes.text_tokens, shapes.text_channels, 2 * channels)
    tape.swap(own, own)
    tape.swap(own, own)
    # GEGLU: eight times the width, then the gate and the product of four times the width each.
    pieces = FEED_FORWARD_CHUNKS if call.chunked else 1
    inside = 16 * own // pieces
    tape.take(inside + (own if call.chunked else 0))
    tape.drop(inside + (own if call.chunked else 0))
    tape.matrix(N, channels, 8 * channels)
    tape.matrix(N, 4 * channels, channels)
    tape.take(2 * own)
    tape.drop(5 * own)


def _mixer(
    tape: _Tape, shapes: UNetShapes, call: Call, channels: int, size: tuple[int, int], level: int
) -> None:
    """Mix the tokens; frees what it took, the caller counts the result."""
    rows, tokens = call.rows, _area(size)
    N = rows * tokens
    own = channels * N
    if call.mixer == "gspn":
        values = channels // 2
        limit = SMALL_MIXER_BLOCK_BYTES if call.small_blocks else MIXER_BLOCK_BYTES[call.device]
        block = min(values, 32 if call.small_blocks else max(32, limit // (4 * N))) * N
        most = own // 8 + own // 2 + max(6 * block, own // 2 + own)
        tape.matrix(N, channels, channels // 8 + values)
        tape.matrix(N, channels // 8, 9 * values)
        tape.matrix(N, values, channels)
        tape.operations += 4 * 10.0 * values * N
    elif call.mixer == "linear":
        most = 6 * own
        tape.matrix(N, channels, 6 * channels)
        tape.operations += 4.0 * own * 64
    else:
        most = 5 * own
        tape.matrix(N, channels, 4 * channels)
        seen = tokens
        if level < len(shapes.only_cross) and shapes.only_cross[level]:
            seen = shapes.text_tokens
        elif call.mixer == "neighborhood":
            window = max(1, -(-shapes.sample_side // 2**level)) ** 2
            seen = min(tokens, window)
            limit = SMALL_MIXER_BLOCK_BYTES if call.small_blocks else WINDOW_BLOCK_BYTES[call.device]
            most = max(most, 4 * own + min(limit // call.element_bytes, 10 * own))
        tape.operations += 4.0 * N * seen * channels
    tape.take(most)
    tape.drop(most)


@functools.lru_cache(maxsize=1024)
def decode_cost(shapes: VAEShapes, height: int, width: int, device: str = "cpu") -> Cost:
    """Return what decoding latents (1, 4, height, width) in one piece costs."""
    tape, (h, w) = _Tape(copies=device == "cuda"), (height, width)
    channels = shapes.channels[-1]
    tape.take(channels * h * w)
    tape.matrix(h * w, 9 * shapes.latent_channels, channels)
    _vae_middle(tape, shapes, (h, w))
    for i, wide in enumerate(reversed(shapes.channels)):
        entered = channels * h * w
        for n in range(shapes.resnets + 1):
            _resnet(tape, 1, channels, wide, (h, w))
            if n:
                tape.drop(channels * h * w)
            channels = wide
        if i < len(shapes.channels) - 1:
            small = channels * h * w
            h, w = 2 * h, 2 * w
            tape.take(channels * h * w)
            tape.take(channels * h * w)
            tape.matrix(h * w, 9 * channels, channels)
            tape.drop(channels * h * w + small)
        tape.drop(entered)
    _vae_end(tape, channels, (h, w), 3)
    return Cost(elements=tape.peak, skip_elements=0, operations=tape.operations)


@functools.lru_cache(maxsize=1024)
def encode_cost(shapes: VAEShapes, height: int, width: int, device: str = "cpu") -> Cost:
    """Return what encoding a sample (1, 3, height, width) in px in one piece costs."""
    tape, (h, w) = _Tape(copies=device == "cuda"), (height, width)
    channels = shapes.channels[0]
    tape.take(channels * h * w)
    tape.matrix(h * w, 27, channels)
    for i, wide in enumerate(shapes.channels):
        entered = channels * h * w
        for n in range(shapes.resnets):
            _resnet(tape, 1, channels, wide, (h, w))
            if n:
                tape.drop(channels * h * w)
            channels = wide
        if i < len(shapes.channels) - 1:
            large = channels * h * w
            h, w = h // 2, w // 2
            # The padded copy that the strided convolution reads.
            tape.take(large)
            tape.take(channels * h * w)
            tape.matrix(h * w, 9 * channels, channels)
            tape.drop(2 * large)
        tape.drop(entered)
    _vae_middle(tape, shapes, (h, w))
    _vae_end(tape, channels, (h, w), 2 * shapes.latent_channels)
    return Cost(elements=tape.peak, skip_elements=0, operations=tape.operations)


def _vae_middle(tape: _Tape, shapes: VAEShapes, size: tuple[int, int]) -> None:
    channels = shapes.channels[-1]
    own = channels * _area(size)
    for n in range(2):
        _resnet(tape, 1, channels, channels, size)
        tape.drop(own)
        if shapes.middle_attention and not n:
            tape.take(6 * own)
            tape.drop(6 * own)
            tape.matrix(_area(size), channels, 4 * channels)
            tape.operations += 4.0 * _area(size) ** 2 * channels


def _vae_end(tape: _Tape, channels: int, size: tuple[int, int], outputs: int) -> None:
    own = channels * _area(size)
    tape.take(own)
    tape.swap(own, own)
    tape.take(outputs * _area(size))
    tape.matrix(_area(size), 9 * channels, outputs)
