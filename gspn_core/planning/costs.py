"""Peak memory and seconds of a stage under given memory options. Pure arithmetic."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gspn_core.planning.memory import Call, decode_cost, encode_cost, unet_cost
from gspn_core.planning.timing import HALF_PAIR, timing_at
from gspn_core.planning.types import Machine, MemoryOptions, Shapes
from gspn_core.settings import Mixer

SMALLEST_TILE_PX = 256
# Slowdown of a UNet evaluation by each option, without the transfers.
SERIAL_FACTOR, CHUNKED_FACTOR, SMALL_BLOCKS_FACTOR, FLOAT8_FACTOR = 1.02, 1.03, 1.03, 1.1
# With smaller tiles a larger share of the pixels is in overlaps.
SMALL_TILES_FACTOR = 1.1
# Latents, noise, estimates and the scheduler's history: float32 maps of latent size alive at the same time.
_LATENT_MAPS = 12
# The preview decoder's pictures and its maps of 64 channels: a block's input, two convolutions, their sum.
PREVIEW_PX, _PREVIEW_MAPS = 512, 4 * 64


@dataclass(frozen=True, kw_only=True)
class Work:
    """One stage as work: its size in px, its mixer, the number of UNet calls and the rows of each.

    refines: the refiner, which always uses its own attention, takes part.
    """

    height: int
    width: int
    mixer: Mixer
    calls: float
    rows: int = 2
    has_reference: bool = True
    refines: bool = False
    tile_px: int | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted memory and time of a stage; seconds is None if nothing was measured here."""

    choices: MemoryOptions
    peak_bytes: int
    seconds: float | None
    slowness: float


def predict(work: Work, choices: MemoryOptions, shapes: Shapes, machine: Machine) -> Prediction:
    """Predict the bytes and seconds of a stage with these memory options."""
    call = Call(
        rows=1 if choices.serial_guidance else work.rows,
        mixer=work.mixer,
        chunked=choices.chunked_feed_forward,
        small_blocks=choices.small_blocks,
        skips_on_host=choices.skips_on_host,
        device=machine.device,
        element_bytes=machine.element_bytes,
    )
    factor = shapes.vae.factor
    sampling = unet_cost(shapes.unet, work.height // factor, work.width // factor, call)
    latents = 4 * shapes.unet.latent_channels * (work.height // factor) * (work.width // factor)
    elements = sampling.elements
    if work.refines and shapes.refiner is not None:
        refining = dataclasses.replace(call, mixer="attention", small_blocks=False)
        elements = max(
            elements,
            unet_cost(shapes.refiner, work.height // factor, work.width // factor, refining).elements,
        )
    if shapes.preview_parameters:
        elements = max(elements, _preview_elements(work))
    sampling_bytes = elements * machine.element_bytes + _LATENT_MAPS * latents
    if shapes.unet.quantized is not None:
        # The widest layer's weights in full precision, while it computes.
        sampling_bytes += _largest_layers(shapes, machine) // 2
    unet_bytes, autoencoder_bytes, text_bytes = _weights(work.mixer, choices, shapes, machine)
    refiner_bytes, preview_bytes = extra_bytes(shapes, machine)
    around = autoencoder_peak(work, choices, shapes, machine)
    if choices.residency == "device":
        everything = unet_bytes + autoencoder_bytes + text_bytes + refiner_bytes + preview_bytes
        peak = everything + max(sampling_bytes, around)
    else:
        by_layer = choices.residency == "group"
        there = _largest_layers(shapes, machine) if by_layer else unet_bytes
        if work.refines and not by_layer:
            # Both UNets compute in one stage, and neither is offloaded in between.
            there += refiner_bytes
        peak = preview_bytes + max(there + sampling_bytes, autoencoder_bytes + around, text_bytes)
    transfers = _transferred(work, choices, call, sampling.skip_elements, shapes, machine)
    seconds, slowness = _times(work, choices, shapes, machine, transfers / machine.transfer)
    return Prediction(
        choices=choices, peak_bytes=machine.base_bytes + peak, seconds=seconds, slowness=slowness
    )


def tile_px(work: Work, choices: MemoryOptions) -> int | None:
    """Return the side in px of the autoencoder's tiles; None if the picture is decoded in one piece."""
    if not choices.small_tiles:
        return work.tile_px
    whole = work.tile_px or 1 << (max(work.height, work.width) - 1).bit_length()
    return max(SMALLEST_TILE_PX, whole >> choices.small_tiles)


def _weights(mixer: Mixer, choices: MemoryOptions, shapes: Shapes, machine: Machine) -> tuple[int, int, int]:
    """Return the bytes of the UNet with its mixers, of the autoencoder and of the text encoders.

    Adapters stay with the UNet; float8 storage halves the UNet's weights, not those of mixers.
    """
    adapters = sum(
        count for name, count in shapes.adapter_parameters if machine.device == "cpu" or name == mixer
    )
    own = 1 if choices.float8_storage else machine.element_bytes
    unet = shapes.unet.weight_bytes(own) + adapters * machine.element_bytes
    return unet, shapes.vae.parameters * machine.vae_bytes, shapes.text_parameters * machine.element_bytes


def extra_bytes(shapes: Shapes, machine: Machine) -> tuple[int, int]:
    """Return the bytes of the refiner and of the preview decoder, which is never offloaded."""
    refiner = 0 if shapes.refiner is None else shapes.refiner.weight_bytes(machine.element_bytes)
    return refiner, shapes.preview_parameters * machine.element_bytes


def _preview_elements(work: Work) -> int:
    """Return the peak elements of a preview: maps of a picture of at most 512 px."""
    share = min(1.0, PREVIEW_PX / max(work.height, work.width))
    return int(_PREVIEW_MAPS * work.height * work.width * share**2)


def autoencoder_peak(work: Work, choices: MemoryOptions, shapes: Shapes, machine: Machine) -> int:
    """Return the peak bytes of encoding and decoding, without weights."""
    side = tile_px(work, choices)
    height, width = (
        (work.height, work.width) if side is None else (min(side, work.height), min(side, work.width))
    )
    factor, pixels = shapes.vae.factor, work.height * work.width
    decode = decode_cost(shapes.vae, height // factor, width // factor, machine.device).elements
    encode = encode_cost(shapes.vae, height, width, machine.device).elements if work.has_reference else 0
    tiled = side is not None and max(work.height, work.width) > side
    # Tiles are blended into a float32 picture with a float32 map of weights; on the host the picture's
    # float32 sample is alive too, and its bytes while it is converted to an image.
    joined = 16 * pixels if tiled else 0
    on_host = 12 * pixels if machine.device == "cpu" else 0
    image = 27 * pixels if machine.device == "cpu" else 24 * pixels
    return max(max(decode, encode) * machine.vae_bytes + joined + on_host * work.has_reference, image)


def _largest_layers(shapes: Shapes, machine: Machine) -> int:
    """Return the bytes of the layer that computes and the next one: the widest feed-forwards."""
    widest = max(*shapes.unet.channels, *(shapes.refiner.channels if shapes.refiner else ()))
    return 2 * 8 * widest * widest * machine.element_bytes


def _transferred(
    work: Work, choices: MemoryOptions, call: Call, skip_elements: int, shapes: Shapes, machine: Machine
) -> float:
    """Return the bytes moved between host and device in a stage."""
    unet_bytes, autoencoder_bytes, _text = _weights(work.mixer, choices, shapes, machine)
    if work.refines:
        unet_bytes += extra_bytes(shapes, machine)[0]
    total = 0.0
    if choices.residency == "model":
        total += unet_bytes + 2 * autoencoder_bytes
    elif choices.residency == "group":
        total += unet_bytes * work.calls * (2 if choices.serial_guidance else 1) + 2 * autoencoder_bytes
    if choices.skips_on_host:
        rounds = work.rows // call.rows
        total += 2.0 * skip_elements * machine.element_bytes * rounds * work.calls
    return total


def _times(
    work: Work, choices: MemoryOptions, shapes: Shapes, machine: Machine, transfer_seconds: float
) -> tuple[float | None, float]:
    """Return the seconds of the work, None if nothing was timed, and a figure to compare options by."""
    factor = 1.0
    for taken, longer in (
        (choices.serial_guidance, SERIAL_FACTOR),
        (choices.chunked_feed_forward, CHUNKED_FACTOR),
        (choices.small_blocks, SMALL_BLOCKS_FACTOR),
        (choices.float8_storage, FLOAT8_FACTOR),
    ):
        factor *= longer if taken else 1.0
    around_factor = SMALL_TILES_FACTOR**choices.small_tiles

    def evaluation(mixer: Mixer, height: int, width: int) -> float:
        return operations(mixer, height, width, shapes)

    timing = timing_at(machine.timings, work.mixer, work.height, work.width, operations=evaluation)
    if timing is None:
        # Assume 50·10¹² operations per second, so that options can still be compared.
        calls = work.calls * evaluation(work.mixer, work.height, work.width) / 50e12
        return None, calls * factor + transfer_seconds + choices.small_tiles
    steps = timing.step_seconds * work.calls * (1.0 if work.rows == 2 else HALF_PAIR)
    around = timing.seconds(0, encodes=work.has_reference)
    seconds = steps * factor + around * around_factor + transfer_seconds
    return seconds, seconds


def operations(mixer: Mixer, height: int, width: int, shapes: Shapes) -> float:
    """Return the operations of one UNet evaluation on the guidance pair at a size in px."""
    factor = shapes.vae.factor
    return unet_cost(shapes.unet, height // factor, width // factor, Call(mixer=mixer)).operations
