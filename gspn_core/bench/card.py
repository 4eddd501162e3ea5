"""On a GPU: the line scan against the bandwidth of a copy, the mixer against flash attention."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from gspn_core.attention.gspn import GSPNConfig, GSPNMixer
from gspn_core.bench.table import Table, median, spread
from gspn_core.ops import line_scan
from gspn_core.ops.prepare import DIRECTIONS
from gspn_core.runtime.device import DTYPES, pick_device

# Goals: share of a copy's bandwidth, the mixer's extra bytes, its speed over attention's.
SCAN_SHARE, MIXER_BYTES, MIXER_SPEED = 0.85, 1.5 * 2**30, 10
_HEAD_WIDTH = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1… or cpu (default: cuda)")
    parser.add_argument("--batch", type=int, default=16, help="samples of the scan (default: 16)")
    parser.add_argument("--channels", type=int, default=8, help="channels of the scan (default: 8)")
    parser.add_argument("--side", type=int, default=1024, help="height and width of its map (default: 1024)")
    parser.add_argument("--mixer-channels", type=int, default=640, help="width of the tokens (default: 640)")
    parser.add_argument("--mixer-side", type=int, default=512, help="side of their map (default: 512)")


@torch.no_grad()
def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return a table of the scan for each dtype, one of the mixer; raise ModelUnavailable without a GPU."""
    device = pick_device(arguments.device)
    scans = [_scan_table(arguments, device, name) for name in ("float32", "bfloat16")]
    return [*scans, _mixer_table(arguments, device)]


def _scan_table(arguments: argparse.Namespace, device: torch.device, dtype: str) -> Table:
    B, C, side = arguments.batch, arguments.channels, arguments.side
    random = torch.Generator(device).manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device=device, dtype=DTYPES[dtype])

    x, gate = noise(B, C, side, side), noise(B, C, side, side).sigmoid_()
    own, shared = noise(B, C, 3, side, side), noise(B, 1, 3, side, side)
    twin = torch.empty_like(own)
    table = Table(
        title=f"Scan of {B} × {C} × {side}², {dtype}",
        columns=("operation", "ms", "least–most", "GB/s", "% of the copy's"),
    )
    # A copy of the largest input into allocated memory: the highest bandwidth that the GPU reaches.
    copied = 2 * own.numel() * own.element_size()
    times = _times(lambda: twin.copy_(own), arguments.repeats, device)
    best = copied / median(times)

    def add(name: str, seconds: list[float], moved: int) -> float:
        rate = moved / median(seconds)
        milliseconds = [second * 1e3 for second in seconds]
        table.rows.append(
            (
                name,
                f"{median(milliseconds):.3g}",
                spread(milliseconds),
                f"{rate / 1e9:.0f}",
                f"{rate / best:.0%}",
            )
        )
        return rate / best

    add("copy", times, copied)
    shares = {}
    for logits, kind in ((own, "own weights"), (shared, "shared weights")):
        moved = (3 * x.numel() + logits.numel()) * x.element_size()
        for direction in DIRECTIONS:
            for chunk_size in (None, 4):
                name = f"{direction}, {kind}" + (f", chunks of {chunk_size}" if chunk_size else "")
                seconds = _times(
                    lambda logits=logits, direction=direction, chunk_size=chunk_size: line_scan(
                        x, gate, logits, direction=direction, chunk_size=chunk_size, gating="convex"
                    ),
                    arguments.repeats,
                    device,
                )
                shares[name] = add(name, seconds, moved)
    slowest = min(shares, key=shares.__getitem__)
    table.notes.append(
        f"Least share of the copy's bandwidth: {shares[slowest]:.0%} ({slowest}); "
        f"the bar is {SCAN_SHARE:.0%}."
    )
    return table


def _mixer_table(arguments: argparse.Namespace, device: torch.device) -> Table:
    C, side = arguments.mixer_channels, arguments.mixer_side
    heads = max(1, C // _HEAD_WIDTH)
    random = torch.Generator(device).manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device=device, dtype=torch.bfloat16)

    tokens = noise(1, side * side, C)
    q, k, v = (noise(1, heads, side * side, C // heads) for _ in range(3))
    table = Table(
        title=f"Mixer of {C} channels over {side}² tokens, bfloat16",
        columns=("operation", "ms", "least–most", "extra GiB", "× faster than attention"),
    )
    cases: dict[str, Callable[[], Tensor]] = {}
    for ratio in (1, 2):
        mixer = GSPNMixer(C, heads=heads, config=GSPNConfig(scan_ratio=ratio)).to(device, torch.bfloat16)
        name = "mixer" if ratio == 1 else f"mixer that scans 1 of {ratio} channels"
        cases[name] = lambda mixer=mixer: mixer(tokens, map_size=(side, side))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        attention = _times(lambda: scaled_dot_product_attention(q, k, v), arguments.repeats, device)
    rows = {"flash attention": (attention, 0)}
    for name, case in cases.items():
        extra = _extra_bytes(case, device)
        rows[name] = (_times(case, arguments.repeats, device), extra)
    for name, (seconds, extra) in rows.items():
        milliseconds = [second * 1e3 for second in seconds]
        gigabytes = f"{extra / 2**30:.2f}" if extra else ""
        speed = f"{median(attention) / median(seconds):.3g}"
        table.rows.append((name, f"{median(milliseconds):.3g}", spread(milliseconds), gigabytes, speed))
    table.notes.append(
        f"The bar for the mixer: {MIXER_SPEED}× attention's speed within {MIXER_BYTES / 2**30:g} GiB."
    )
    return table


def _times(case: Callable[[], Tensor], repeats: int, device: torch.device) -> list[float]:
    """Return the seconds of each counted run, after two uncounted ones; the first compiles kernels."""
    seconds = []
    for run in range(repeats + 2):
        _wait(device)
        began = time.perf_counter()
        case()
        _wait(device)
        if run >= 2:
            seconds.append(time.perf_counter() - began)
    return seconds


def _extra_bytes(case: Callable[[], Tensor], device: torch.device) -> int:
    """Return the peak bytes of a run in addition to those in use; 0 if unknown."""
    if device.type != "cuda":
        return 0
    case()
    _wait(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    case()
    _wait(device)
    return torch.cuda.max_memory_allocated(device) - before


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
