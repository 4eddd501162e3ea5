"""Peak memory and seconds of a stage under given memory options. Pure arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from gspn_core.planning.condition_cost import condition_elements, condition_operations, residual_elements
from gspn_core.planning.conditions import ConditionFile
from gspn_core.planning.memory import Call, decode_cost, encode_cost, unet_cost
from gspn_core.planning.timing import HALF_PAIR, timing_at
from gspn_core.planning.types import Machine, MemoryOptions, Shapes
from gspn_core.settings import Mixer
from gspn_core.tiling import tile_count

SMALLEST_TILE_PX = 256
# Pictures of a batch.
MOST_PICTURES = 8
# Slowdown of a UNet evaluation by each option, without the transfers.
SERIAL_FACTOR, CHUNKED_FACTOR, SMALL_BLOCKS_FACTOR, FLOAT8_FACTOR = 1.02, 1.03, 1.03, 1.1
# With smaller tiles a larger share of the pixels is in overlaps.
SMALL_TILES_FACTOR = 1.1
# Latents, noise, estimates and the scheduler's history: float32 maps of latent size alive at the same time.
_LATENT_MAPS = 12
# The preview decoder's pictures and its maps of 64 channels: a block's input, two convolutions, their sum.
PREVIEW_PX, _PREVIEW_MAPS = 512, 4 * 64

# The super-resolution network: the side of the largest tile that it draws at once, the bytes of its maps per
# pixel of that, and its seconds over those of the autoencoder's decoder in float32 and in half precision.
# Measured at 1024 px on one CPU core: 148 bytes a pixel, and 1.0 s of 13.3 s in float32; in half precision
# on two cores with a network twice as wide at the large size, 0.54 s of 1.62 s.
SUPERRES_TILE_PX = 1280
_SUPERRES_BYTES_PX = 200
_SUPERRES_SHARE, _SUPERRES_SHARE_OF_HALF = 0.08, 0.34
# Speed of convolutions in float32 over that in half precision, measured with the same network.
_FLOAT32_SPEED = 0.4


@dataclass(frozen=True, kw_only=True)
class Work:
    """One stage as work: its size in px, its mixer, the number of UNet calls and the rows of each.

    has_reference: a picture is encoded; encodes_twice: and another one, what a mask leaves of it.
    refines: the refiner, which always uses its own attention, takes part. text_chunks: see `StagePlan`.
    lora_numbers: weights of the UNet that LoRA files change, whose originals are kept on the host.
    drawn: height and width in px of what one UNet call draws, None for all of it.
    condition: the ControlNet or T2I-Adapter that takes part in condition_share of the calls, None for none.
    """

    height: int
    width: int
    mixer: Mixer
    calls: float
    rows: int = 2
    has_reference: bool = True
    encodes_twice: bool = False
    refines: bool = False
    tile_px: int | None = None
    text_chunks: int = 1
    lora_numbers: int = 0
    drawn: tuple[int, int] | None = None
    condition: ConditionFile | None = None
    condition_share: float = 0.0

    @property
    def call_px(self) -> tuple[int, int]:
        """Return height and width in px of what one UNet call draws."""
        return self.drawn or (self.height, self.width)


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
    sampling = unet_cost(shapes.unet, *_at_once(shapes, *work.call_px), call)
    latents = 4 * shapes.unet.latent_channels * (work.height // factor) * (work.width // factor)
    elements = sampling.elements
    if work.refines and shapes.refiner is not None:
        refining = dataclasses.replace(call, mixer="attention", small_blocks=False)
        elements = max(
            elements,
            unet_cost(shapes.refiner, work.height // factor, work.width // factor, refining).elements,
        )
    if work.condition is not None:
        # It has computed before the UNet begins, and the UNet adds its residuals while it computes.
        own = work.condition, *work.call_px, call
        elements = max(elements + residual_elements(*own), condition_elements(*own))
    if shapes.preview_parameters:
        elements = max(elements, _preview_elements(work))
    sampling_bytes = elements * machine.element_bytes + _LATENT_MAPS * latents
    if shapes.unet.quantized is not None:
        # The widest layer's weights in full precision, while it computes.
        sampling_bytes += _largest_layers(shapes, machine) // 2
    # It is on the device for the steps alone; on a CPU it stays in memory.
    condition_bytes = 0 if work.condition is None else work.condition.parameters * machine.element_bytes
    sampling_bytes += condition_bytes
    unet_bytes, autoencoder_bytes, text_bytes = _weights(work.mixer, choices, shapes, machine)
    refiner_bytes, preview_bytes = extra_bytes(shapes, machine)
    around = autoencoder_peak(work, choices, shapes, machine)
    around += condition_bytes if machine.device == "cpu" else 0
    if choices.residency == "device":
        everything = unet_bytes + autoencoder_bytes + text_bytes + refiner_bytes + preview_bytes
        everything += shapes.other_parameters * machine.element_bytes
        peak = everything + max(sampling_bytes, around)
    else:
        by_layer = choices.residency == "group"
        there = _largest_layers(shapes, machine) if by_layer else unet_bytes
        if work.refines and not by_layer:
            # Both UNets compute in one stage, and neither is offloaded in between.
            there += refiner_bytes
        peak = preview_bytes + max(there + sampling_bytes, autoencoder_bytes + around, text_bytes)
    if machine.device == "cpu":
        peak += min(work.lora_numbers, shapes.unet.parameters) * machine.element_bytes
    transfers = _transferred(work, choices, call, sampling.skip_elements, shapes, machine)
    seconds, slowness = _times(work, choices, shapes, machine, transfers / machine.transfer)
    return Prediction(
        choices=choices, peak_bytes=machine.base_bytes + peak, seconds=seconds, slowness=slowness
    )


def pair_calls(steps: int, guided_steps: int, dilated: Sequence[bool] = ()) -> float:
    """Return how many evaluations of the UNet on the guidance pair a stage's first `steps` steps take.

    dilated: whether each step also evaluates the dilated branch; missing entries are False. Steps after the
    guided ones run half of the pair and count half.
    """
    branches = (1 + (i < len(dilated) and dilated[i]) for i in range(steps))
    return sum(count * (1.0 if i < guided_steps else 0.5) for i, count in enumerate(branches))


def batch_bytes(work: Work, shapes: Shapes, machine: Machine) -> tuple[int, ...]:
    """Predict the peak bytes of a stage in which 2, 3, … MOST_PICTURES pictures are drawn at once."""
    return tuple(
        predict(
            dataclasses.replace(work, rows=work.rows * count), MemoryOptions(), shapes, machine
        ).peak_bytes
        for count in range(2, MOST_PICTURES + 1)
    )


def superres_cost(work: Work, shapes: Shapes, machine: Machine) -> tuple[int, float | None]:
    """Predict the bytes and seconds of a stage that is one pass of the super-resolution network.

    It is convolutions over the picture like the autoencoder's decoding, and priced as a share of that.
    """
    pixels = work.height * work.width
    everything = resident_bytes(work.mixer, shapes, machine)
    peak = (
        machine.base_bytes + everything + _SUPERRES_BYTES_PX * min(pixels, SUPERRES_TILE_PX**2) + 27 * pixels
    )
    seconds = _decode_seconds(work, shapes, machine)
    if seconds is None:
        return peak, None
    share = _SUPERRES_SHARE if machine.vae_bytes == 4 else _SUPERRES_SHARE_OF_HALF
    return peak, share * seconds


def operations_per_second(work: Work, shapes: Shapes, machine: Machine) -> float | None:
    """Return how fast convolutions over the picture run in float32: as in decoding one of this size."""
    seconds = _decode_seconds(work, shapes, machine)
    if not seconds:
        return None
    done = decode_operations(shapes, work.height, work.width)
    return done / seconds * float32_speed(machine)


def float32_speed(machine: Machine) -> float:
    """Return the speed of convolutions in float32 over that of the autoencoder's."""
    return 1.0 if machine.vae_bytes == 4 else _FLOAT32_SPEED


def _decode_seconds(work: Work, shapes: Shapes, machine: Machine) -> float | None:
    timing = timing_at(
        machine.timings, work.mixer, work.height, work.width,
        operations=lambda mixer, height, width: operations(mixer, height, width, shapes),
    )  # fmt: skip
    return None if timing is None else timing.decode_seconds


def resident_bytes(mixer: Mixer, shapes: Shapes, machine: Machine) -> int:
    """Return the bytes of all weights of the model, none of them offloaded."""
    return (
        sum(_weights(mixer, MemoryOptions(), shapes, machine))
        + sum(extra_bytes(shapes, machine))
        + shapes.other_parameters * machine.element_bytes
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

    if work.text_chunks > 1:
        # Timings are of texts of one chunk.
        longer = operations(work.mixer, work.height, work.width, shapes, work.text_chunks)
        factor *= longer / evaluation(work.mixer, work.height, work.width)
    timing = timing_at(machine.timings, work.mixer, work.height, work.width, operations=evaluation)
    drawing = timing_at(machine.timings, work.mixer, *work.call_px, operations=evaluation)
    if timing is None or drawing is None:
        # Assume 50·10¹² operations per second, so that options can still be compared.
        calls = work.calls * evaluation(work.mixer, *work.call_px) / 50e12
        calls *= 1 + _condition_share(work, shapes)
        return None, calls * factor + transfer_seconds + choices.small_tiles
    steps = drawing.step_seconds * work.calls * (1.0 if work.rows == 2 else HALF_PAIR)
    steps *= 1 + _condition_share(work, shapes)
    around = timing.seconds(0, encodes=work.has_reference)
    around += (timing.encode_seconds or 0.0) * work.encodes_twice
    seconds = steps * factor + around * around_factor + transfer_seconds
    return seconds, seconds


def _condition_share(work: Work, shapes: Shapes) -> float:
    """Return the operations of what steers the UNet over those of the UNet, 0 for nothing."""
    if work.condition is None:
        return 0.0
    own = condition_operations(work.condition, *work.call_px, rows=2)
    return work.condition_share * own / operations(work.mixer, *work.call_px, shapes)


def operations(mixer: Mixer, height: int, width: int, shapes: Shapes, text_chunks: int = 1) -> float:
    """Return the operations of one UNet evaluation on the guidance pair at a size in px."""
    factor, unet = shapes.vae.factor, shapes.unet
    if text_chunks > 1:
        unet = dataclasses.replace(unet, text_tokens=unet.text_tokens * text_chunks)
    tiles = tile_count(height // factor, width // factor, unet.tile_side) if unet.tile_side else 1
    return tiles * unet_cost(unet, *_at_once(shapes, height, width), Call(mixer=mixer)).operations


def decode_operations(shapes: Shapes, height: int, width: int) -> float:
    """Return the operations of decoding a picture of height × width px in one piece."""
    factor = shapes.vae.factor
    return decode_cost(shapes.vae, height // factor, width // factor).operations


def _at_once(shapes: Shapes, height: int, width: int) -> tuple[int, int]:
    """Return the height and width of the latents that go through the UNet at a time."""
    factor, most = shapes.vae.factor, shapes.unet.tile_side or max(height, width)
    return min(most, height // factor), min(most, width // factor)
