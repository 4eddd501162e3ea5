"""One call of the UNet on the guidance pair against the picture's side: time and memory of each mixer.

A mixer without trained weights runs with random ones, which cost the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.attention.linear_adapter import LinearAdapter
from gspn_core.attention.registry import use_mixer
from gspn_core.bench.limits import expected_seconds
from gspn_core.bench.plot import Panel, write_plot
from gspn_core.bench.table import Table, median
from gspn_core.cascade.fused import fused_layers
from gspn_core.errors import BadSetting
from gspn_core.models.layout import LAYOUTS
from gspn_core.models.loading import load_model
from gspn_core.runtime.device import pick_device, pick_dtype
from gspn_core.runtime.meter import Meter

MIXERS = ("attention", "neighborhood", "linear", "gspn")
_ADAPTERS = {"gspn": GSPNAdapter, "linear": LinearAdapter}
_RANDOM = {"sdxl-random": "full", "small-random": "small"}
_FACTOR = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--model", default="world", help=f"a model, or {' or '.join(_RANDOM)} for its shapes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 512, 1024, 2048], metavar="PX")
    parser.add_argument("--mixers", nargs="+", choices=MIXERS, default=list(MIXERS))
    parser.add_argument(
        "--limit-seconds", type=float, default=60.0, help="the longest call begun (default: 60)"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw time and memory as FILE.svg and FILE.png"
    )


@torch.inference_mode()
def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return one table; sides that are expected to take longer than the limit are left out."""
    if any(side % (8 * _FACTOR) for side in arguments.sides):
        raise BadSetting("sides", f"sides must be multiples of {8 * _FACTOR} px, got {arguments.sides}.")
    unet = _unet(arguments)
    device = next(unet.parameters()).device
    table = Table(
        title=f"UNet of {arguments.model}, {str(unet.dtype).removeprefix('torch.')}, one guidance pair",
        columns=("mixer", "px", "ms", "least–most", "peak memory, GB"),
    )
    seconds: dict[str, list[tuple[float, float]]] = {}
    memory: dict[str, list[tuple[float, float]]] = {}
    for mixer in arguments.mixers:
        seconds[mixer], memory[mixer] = [], []
        with fused_layers(unet), _mixed(unet, mixer):
            for side in sorted(arguments.sides):
                if expected_seconds(seconds[mixer], side) > arguments.limit_seconds:
                    table.notes.append(f"{mixer} at {side} px would take too long and was left out.")
                    break
                times, peak = _time(_call(unet, side), arguments.repeats, device)
                seconds[mixer].append((side, median(times)))
                memory[mixer].append((side, peak / 1e9))
                least_most = f"{1e3 * min(times):.0f}–{1e3 * max(times):.0f}"
                figures = f"{1e3 * median(times):.0f}", least_most, f"{peak / 1e9:.2f}"
                table.rows.append((mixer, side, *figures))
    if arguments.plot is not None:
        panels = [
            Panel(title="Seconds per UNet call", lines=seconds),
            Panel(title="Peak memory, GB", lines=memory),
        ]
        table.notes.append("Drawn: " + ", ".join(map(str, write_plot(panels, arguments.plot))) + ".")
    return [table]


def _unet(arguments: argparse.Namespace) -> UNet2DConditionModel:
    size = _RANDOM.get(arguments.model)
    if size is None:
        model = load_model(arguments.model, device=arguments.device, dtype=arguments.dtype)
        return model.pipeline.unet
    device = pick_device(arguments.device)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(LAYOUTS[size].unet))
    unet = unet.to(pick_dtype(arguments.dtype, device)).to_empty(device=device)
    for parameter in unet.parameters():
        # Small enough that the output of seventy residual blocks is finite.
        parameter.normal_(std=0.02)
    return unet.to(memory_format=torch.channels_last).eval().requires_grad_(False)


@contextmanager
def _mixed(unet: UNet2DConditionModel, mixer: str) -> Iterator[None]:
    if mixer not in _ADAPTERS:
        with use_mixer(unet, mixer):
            yield
        return
    adapter = _ADAPTERS[mixer].construct_for(unet)
    with adapter.injected():
        yield


def _call(unet: UNet2DConditionModel, side: int) -> Callable[[], Tensor]:
    config, like = unet.config, next(unet.parameters())

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(like)

    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    sample = noise(2, config.in_channels, side // _FACTOR, side // _FACTOR)
    text = noise(2, 77, config.cross_attention_dim)
    added = {"text_embeds": noise(2, pooled), "time_ids": noise(2, 6).abs()}
    timestep = torch.tensor(500.0, device=like.device)
    return lambda: unet(
        sample, timestep, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False
    )[0]


def _time(call: Callable[[], Tensor], repeats: int, device: torch.device) -> tuple[list[float], int]:
    """Return the seconds of each counted call, after an uncounted one, and the peak memory in bytes."""
    meter, times = Meter(device), []
    meter.start()
    try:
        for _ in range(repeats + 1):
            # Reading the meter's clock waits for the device.
            began = meter.seconds
            call()
            times.append(meter.seconds - began)
        return times[1:], meter.sample().peak_bytes
    finally:
        meter.stop()
