"""Attention's time over GSPN's, measured again and again with and without a busy neighbour.

Two methods: one mixer after the other, the second of two evaluations of each; and that of the page, which
alternates, takes the minimum of several rounds and discards it if the machine was busy. The neighbour
computes on every core, without a pause or for two seconds out of four.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import cpu_count

import torch

from gspn_core.backbones.conditioning import encode_text
from gspn_core.backbones.model import Model
from gspn_core.bench.table import Table
from gspn_core.cascade.benchmark import Piece, Stopwatch, stage_pieces
from gspn_core.models.loading import load_model
from gspn_core.planning.plan import make_plan
from gspn_core.settings import Settings

MIXERS = ("attention", "gspn")
_BURST_SECONDS = 2.0
_LIMIT_SECONDS = 30.0
_NEIGHBOUR = """
import sys, time
burst, pause = map(float, sys.argv[1:])
while True:
    ends = time.perf_counter() + burst
    while time.perf_counter() < ends:
        sum(range(10_000))
    time.sleep(pause)
"""
Ratio = Callable[[Model, dict[str, Piece]], float | None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's arguments."""
    parser.add_argument("--model", default="world")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--side", type=int, default=512, help="side of the picture in px (default: 512)")


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return the table of ratios."""
    model = load_model(arguments.model, device=arguments.device, dtype=arguments.dtype)
    for adapter in model.adapters.values():
        adapter.warm_up()
    table = Table(
        title=f"{model.card.name}, {arguments.side} px: attention's time over GSPN's",
        columns=("measured", "neighbour", "ratios", "spread"),
    )
    methods: dict[str, Ratio] = {"one after the other": one_after_the_other, "alternately": alternately}
    pieces = pieces_at(model, arguments.side)
    for method, ratio in methods.items():
        for name, pause_seconds in (("none", None), ("in bursts", _BURST_SECONDS), ("always", 0.0)):
            with neighbour(pause_seconds), torch.inference_mode():
                ratios = [ratio(model, pieces) for _ in range(arguments.repeats)]
            said = ", ".join("busy" if one is None else f"{one:.2f}" for one in ratios)
            known = [one for one in ratios if one is not None]
            spread = f"{max(known) / min(known):.2f}" if len(known) > 1 else "–"
            table.rows.append((method, name, said, spread))
    table.notes += [
        'Spread: the largest ratio over the smallest. "busy": not measured, as the machine was busy.',
        f"The neighbour computes on {cpu_count()} cores, in bursts for {_BURST_SECONDS:g} s of every "
        f"{2 * _BURST_SECONDS:g} s.",
    ]
    return [table]


def pieces_at(model: Model, side_px: int) -> dict[str, Piece]:
    """Return one evaluation of the UNet with each of the two mixers."""
    settings = Settings(prompt="a lake", target=side_px, seed=0)
    with torch.inference_mode():
        stage = make_plan(settings, model.card).stages[-1]
        text = encode_text(model.pipeline, settings.prompt, "")
        pieces = stage_pieces(model, stage, text.at_size(stage.size), MIXERS)
    return {mixer: pieces[mixer] for mixer in MIXERS}


def one_after_the_other(_model: Model, pieces: dict[str, Piece]) -> float:
    """Return the ratio of the second evaluations, even if the machine was busy."""
    seconds = {}
    for mixer, piece in pieces.items():
        with piece.around():
            for _ in range(2):
                began = time.perf_counter()
                piece.work()
                seconds[mixer] = time.perf_counter() - began
    return seconds["attention"] / seconds["gspn"]


def alternately(model: Model, pieces: dict[str, Piece]) -> float | None:
    """Return the ratio as the page measures it; None if the machine was busy."""
    with Stopwatch(model, lambda: False, _LIMIT_SECONDS) as stopwatch:
        figures = stopwatch.times(pieces)
    return None if figures is None else figures["attention"].seconds / figures["gspn"].seconds


@contextmanager
def neighbour(pause_seconds: float | None) -> Iterator[None]:
    """Compute on every core in other processes during a `with` block; None: do nothing."""
    count = 0 if pause_seconds is None else cpu_count() or 1
    command = [sys.executable, "-c", _NEIGHBOUR, str(_BURST_SECONDS), str(pause_seconds)]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
