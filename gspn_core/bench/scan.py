"""The line scan against a triad over the same bytes, the eager line loop, and attention over its tokens."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from gspn_core.bench.table import Table, median
from gspn_core.ops import line_scan
from gspn_core.ops.prepare import DIRECTIONS

# A scan is short, so each round has this many runs of it for one of attention.
_RUNS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--maps", type=int, default=768, help="channel maps (default: 768)")
    parser.add_argument("--side", type=int, default=128, help="height and width in cells (default: 128)")


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return a table of the scan's backends with their bandwidth, and of the references."""
    C, side = arguments.maps, arguments.side
    generator = torch.Generator().manual_seed(0)
    x, gate = (torch.randn(1, C, side, side, generator=generator) for _ in range(2))
    logits = torch.randn(1, C, 3, side, side, generator=generator)
    heads = max(1, C // 64)
    tokens = torch.randn(1, heads, side * side, C // heads, generator=generator)
    moved = (3 * x.numel() + logits.numel()) * x.element_size()
    a, b, out = (torch.randn(2 * x.numel(), generator=generator) for _ in range(3))

    def scan(backend: str, direction: str) -> Callable[[], torch.Tensor]:
        return lambda: line_scan(x, gate, logits, direction=direction, backend=backend)

    scans = {f"line_scan cpu, {direction}": scan("cpu", direction) for direction in DIRECTIONS}
    triads = {
        "triad, output ready": lambda: torch.addcmul(a, b, b, out=out),
        "triad, fresh output": lambda: torch.addcmul(a, b, b),
    }
    naive = {f"line_scan naive, {direction}": scan("naive", direction) for direction in ("right", "down")}
    attention = {
        f"attention, {heads} heads": lambda: functional.scaled_dot_product_attention(tokens, tokens, tokens)
    }
    times = _times(((scans | triads, _RUNS), (naive | attention, 1)), arguments.repeats)
    return [_table(f"{C} maps of {side}², float32", times, moved)]


def _table(title: str, times: dict[str, list[float]], moved: int) -> Table:
    """Return the minimum and the median of each operation, and ratios of the minima."""
    least = {name: min(seconds) for name, seconds in times.items()}
    triad, across, along, attention = (
        next(seconds for name, seconds in least.items() if name.startswith(start))
        for start in ("triad, output ready", "line_scan naive, right", "line_scan naive, down", "attention")
    )
    table = Table(
        title=title,
        columns=("operation", "least ms", "median ms", "GB/s", "of the triad", "naive ÷", "attention ÷"),
        notes=[
            "Least of the runs, which take turns; ratios are of the least. A triad moves as many bytes as a "
            "scan that reads x, gate and three logits and writes its states. The naive loop is held against "
            "each direction along its own lines."
        ],
    )
    for name, seconds in least.items():
        ms = [f"{value * 1e3:.3g}" for value in (seconds, median(times[name]))]
        naive = across if name.endswith(("right", "left")) else along
        ratios = [f"{naive / seconds:.3g}", f"{attention / seconds:.3g}"]
        if name.startswith("attention"):
            table.rows.append((name, *ms, "", "", "", ""))
        else:
            rate, share = f"{moved / seconds / 1e9:.1f}", f"{triad / seconds:.0%}"
            table.rows.append((name, *ms, rate, share, *ratios))
    return table


@torch.inference_mode()
def _times(
    groups: tuple[tuple[dict[str, Callable[[], torch.Tensor]], int], ...], rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of every run; each round runs the cases of a group in turn, as often as it says."""
    times: dict[str, list[float]] = {name: [] for cases, _ in groups for name in cases}
    for counted in (False, *[True] * rounds):
        for cases, runs in groups:
            for _ in range(runs if counted else 1):
                for name, case in cases.items():
                    began = time.perf_counter()
                    case()
                    if counted:
                        times[name].append(time.perf_counter() - began)
    return times
