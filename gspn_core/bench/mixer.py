"""One self-attention layer in four forms against the side of its map: time, memory, ratios to attention.

Each form is what a UNet runs, projections included: diffusers' attention, the same weights as neighbourhood
attention, LinFusion's linear attention, and the GSPN mixer of an adapter. The weights are random; they cost
the same as trained ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from gspn_core.attention.gspn import GSPNMixer
from gspn_core.attention.linear import LinearMixer
from gspn_core.attention.linear_adapter import HIDDEN_RATIO
from gspn_core.attention.neighborhood import NeighborhoodProcessor
from gspn_core.bench.allocated import most_extra_bytes
from gspn_core.bench.limits import expected_seconds
from gspn_core.bench.plot import Panel, write_plot
from gspn_core.bench.table import Table, median
from gspn_core.errors import BadSetting
from gspn_core.runtime.device import pick_device, pick_dtype
from gspn_core.runtime.machine import free_host_bytes

MIXERS = ("attention", "neighborhood", "linear", "gspn")
_QUICK_SIDES, _QUICK_SECONDS = (32, 64), 2.0
# A map may take this share of the free memory; memory grows with the tokens in all four forms.
_MEMORY_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A self-attention layer: the width of its tokens, its heads, the side of its map at the trained size."""

    channels: int
    heads: int
    trained_side: int


# The layers with the largest maps: SDXL's first level with self-attention, and that of the embedded model.
SHAPES: Mapping[str, Shape] = {
    "sdxl": Shape(channels=640, heads=10, trained_side=64),
    "world": Shape(channels=128, heads=4, trained_side=16),
}


@dataclass(kw_only=True)
class _Measured:
    """The measurements of one form: seconds of each counted run, and bytes, by the side of the map."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    extra_bytes: dict[int, int] = field(default_factory=dict)

    @property
    def medians(self) -> list[tuple[float, float]]:
        return [(side, median(seconds)) for side, seconds in self.seconds.items()]

    @property
    def megabytes(self) -> list[tuple[float, float]]:
        return [(side, count / 1e6) for side, count in self.extra_bytes.items()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=list(SHAPES))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--sides", nargs="+", type=int, default=[32, 64, 128, 256], metavar="TOKENS")
    parser.add_argument("--batch", type=int, default=1, help="maps at once (default: 1)")
    parser.add_argument("--mixers", nargs="+", choices=MIXERS, default=list(MIXERS))
    parser.add_argument(
        "--limit-seconds", type=float, default=60.0, help="the longest call begun (default: 60)"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"sides {_QUICK_SIDES[0]} and {_QUICK_SIDES[1]}, one run each"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw time and memory as FILE.svg and FILE.png"
    )


@torch.inference_mode()
def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return a table for each shape; sides too large for the time or the memory are left out, with a note."""
    if min(arguments.sides) < 1 or arguments.batch < 1:
        raise BadSetting("sides", "--sides and --batch must be whole numbers from 1.")
    if arguments.quick:
        arguments.sides, arguments.repeats = list(_QUICK_SIDES), 1
        arguments.limit_seconds = min(arguments.limit_seconds, _QUICK_SECONDS)
    device = pick_device(arguments.device)
    dtype = pick_dtype(arguments.dtype, device)
    tables, panels = [], []
    for name in arguments.shapes:
        shape = SHAPES[name]
        table = Table(
            title=f"One layer of {name}: {shape.channels} channels, {shape.heads} heads, "
            f"{str(dtype).removeprefix('torch.')}",
            columns=("side", "mixer", "ms", "least–most", "attention ÷", "extra memory, MB", "attention ÷"),
        )
        measured = _measure(shape, arguments, device, dtype, table)
        _fill(table, measured)
        tables.append(table)
        across = "side of the map, tokens"
        seconds = {mixer: found.medians for mixer, found in measured.items() if found.seconds}
        memory = {mixer: found.megabytes for mixer, found in measured.items() if found.extra_bytes}
        panels += [
            Panel(title=f"Seconds, {shape.channels} channels", lines=seconds, across=across),
            Panel(title=f"Extra memory, MB, {shape.channels} channels", lines=memory, across=across),
        ]
    if arguments.plot is not None:
        drawn = ", ".join(map(str, write_plot(panels, arguments.plot)))
        tables[-1].notes.append(f"Drawn: {drawn}.")
    return tables


def make_forms(
    shape: Shape, device: torch.device, dtype: torch.dtype
) -> dict[str, Callable[[Tensor, tuple[int, int]], Tensor]]:
    """Return each form of one layer: a function of tokens (B, N, C) and the (height, width) of their map."""
    C, heads = shape.channels, shape.heads
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        attention = Attention(C, heads=heads, dim_head=C // heads, processor=AttnProcessor2_0())
        linear = LinearMixer(C, heads, C // HIDDEN_RATIO)
        gspn = GSPNMixer.from_attention(attention)
    near = Attention(C, heads=heads, dim_head=C // heads)
    near.load_state_dict(attention.state_dict())
    processor = NeighborhoodProcessor((shape.trained_side, shape.trained_side))
    near.set_processor(processor)
    attention, near, linear, gspn = (
        module.to(device=device, dtype=dtype).eval() for module in (attention, near, linear, gspn)
    )

    def neighborhood(tokens: Tensor, map_size: tuple[int, int]) -> Tensor:
        processor.map_size = map_size
        return near(tokens)

    def plain(layer: nn.Module, tokens: Tensor, _map_size: tuple[int, int]) -> Tensor:
        return layer(tokens)

    return {
        "attention": partial(plain, attention),
        "neighborhood": neighborhood,
        "linear": partial(plain, linear),
        "gspn": lambda tokens, map_size: gspn(tokens, map_size=map_size),
    }


def _measure(
    shape: Shape, arguments: argparse.Namespace, device: torch.device, dtype: torch.dtype, table: Table
) -> dict[str, _Measured]:
    """Time the forms alternately, one side after another, and count their bytes; note what is left out."""
    forms = make_forms(shape, device, dtype)
    measured = {mixer: _Measured() for mixer in arguments.mixers}
    for side in sorted(arguments.sides):
        admitted = []
        for mixer, found in measured.items():
            why = _why_not(found, side, arguments.limit_seconds, device)
            if why:
                table.notes.append(f"{mixer} at {side}² tokens {why} and was left out.")
            else:
                admitted.append(mixer)
        random = torch.Generator().manual_seed(side)
        tokens = torch.randn(arguments.batch, side * side, shape.channels, generator=random)
        tokens = tokens.to(device=device, dtype=dtype)
        calls = {mixer: partial(forms[mixer], tokens, (side, side)) for mixer in admitted}
        for mixer, seconds in _times(calls, arguments.repeats, device).items():
            measured[mixer].seconds[side] = seconds
        counts = most_extra_bytes(list(calls.values()), device) if calls else []
        for mixer, count in zip(admitted, counts, strict=True):
            measured[mixer].extra_bytes[side] = count
    return measured


def _why_not(found: _Measured, side: int, limit_seconds: float, device: torch.device) -> str:
    """Return why a side is not measured, "" if it is."""
    sides = list(found.seconds)
    if expected_seconds(found.medians, side) > limit_seconds:
        return "would take too long"
    if sides and found.extra_bytes[sides[-1]] * (side / sides[-1]) ** 2 > _MEMORY_SHARE * _free_bytes(device):
        return "would not fit into the memory"
    return ""


def _free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_host_bytes()


def _times(
    calls: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Return the seconds of each counted run; the forms alternate, after one round that is not counted."""
    times: dict[str, list[float]] = {mixer: [] for mixer in calls}
    for turn in range(repeats + 1):
        for mixer, call in calls.items():
            _wait(device)
            began = time.perf_counter()
            call()
            _wait(device)
            if turn:
                times[mixer].append(time.perf_counter() - began)
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _fill(table: Table, measured: Mapping[str, _Measured]) -> None:
    against = measured.get("attention", _Measured())
    for side in sorted({side for found in measured.values() for side in found.seconds}):
        for mixer, found in measured.items():
            if side not in found.seconds:
                continue
            ms, count = [1e3 * second for second in found.seconds[side]], found.extra_bytes[side]
            faster = _ratio(against.seconds.get(side), found.seconds[side])
            smaller = f"{against.extra_bytes[side] / count:.3g}" if against.extra_bytes.get(side) else ""
            least_most = f"{_figure(min(ms))}–{_figure(max(ms))}"
            row = side, mixer, _figure(median(ms)), least_most, faster, _figure(count / 1e6), smaller
            table.rows.append(row)
    table.notes.append("Medians; the forms alternate. “Attention ÷” is attention's figure over the row's.")


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _ratio(attention: list[float] | None, own: list[float]) -> str:
    return f"{median(attention) / median(own):.3g}" if attention else ""
