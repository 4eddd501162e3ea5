"""The line scan against the eager line loop and against attention over the same tokens."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from gspn_core.bench.table import Table, median, spread
from gspn_core.ops import line_scan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this benchmark can be told."""
    parser.add_argument("--maps", type=int, default=768, help="channel maps (default: 768)")
    parser.add_argument("--side", type=int, default=128, help="height and width in cells (default: 128)")


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return a table of the scan's backends and of attention, with the scan's bandwidth."""
    C, side = arguments.maps, arguments.side
    generator = torch.Generator().manual_seed(0)
    x, gate = (torch.randn(1, C, side, side, generator=generator) for _ in range(2))
    logits = torch.randn(1, C, 3, side, side, generator=generator)
    heads = max(1, C // 64)
    tokens = torch.randn(1, heads, side * side, C // heads, generator=generator)
    moved = (3 * x.numel() + logits.numel()) * x.element_size()

    def scan(backend: str, direction: str) -> Callable[[], torch.Tensor]:
        return lambda: line_scan(x, gate, logits, direction=direction, backend=backend)

    out = torch.empty_like(x)
    cases = {
        "triad into a ready output": lambda: torch.addcmul(x, gate, gate, out=out),
        **{f"line_scan cpu, {d}": scan("cpu", d) for d in ("right", "left", "down", "up")},
        "line_scan naive, down": scan("naive", "down"),
        f"attention, {heads} heads": lambda: functional.scaled_dot_product_attention(tokens, tokens, tokens),
    }
    table = Table(
        title=f"{C} maps of {side}², float32",
        columns=("operation", "ms", "least–most", "GB/s", "× the scan down"),
    )
    times = {name: _times(case, arguments.repeats) for name, case in cases.items()}
    unit = median(times["line_scan cpu, down"])
    for name, seconds in times.items():
        bytes_moved = 3 * x.numel() * x.element_size() if name.startswith("triad") else moved
        rate = "" if name.startswith("attention") else f"{bytes_moved / median(seconds) / 1e9:.1f}"
        milliseconds = [second * 1e3 for second in seconds]
        ratio = f"{median(seconds) / unit:.3g}"
        table.rows.append((name, f"{median(milliseconds):.3g}", spread(milliseconds), rate, ratio))
    return [table]


@torch.inference_mode()
def _times(case: Callable[[], torch.Tensor], repeats: int) -> list[float]:
    case()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        case()
        seconds.append(time.perf_counter() - began)
    return seconds
