"""Predicted against measured memory and seconds of every stage; with --budgets, full-size SDXL's plans.

The machine is measured first (`Engine.measure`), and predictions are based only on that, not on later runs.
Each mixer runs once uncounted, then the median counts. The table of budgets is arithmetic: for a GPU with
that much free memory and 64 GB of host memory, on which nothing was timed.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from PIL import Image

from gspn_core.bench.table import Table, median, spread
from gspn_core.engine import Engine
from gspn_core.errors import GspnError
from gspn_core.events import StageDone, StageNotTimed
from gspn_core.models.catalog import SDXL_CARD
from gspn_core.models.loading import load_model
from gspn_core.models.shapes import SDXL_SHAPES
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import CascadePlan, Machine, StagePlan
from gspn_core.settings import Settings

# How far a prediction may be off.
BYTES_BAR, SECONDS_BAR = 0.15, 0.30
_MEMORY = {
    "process": "Memory is the resident set of the whole process, its highest of samples 20 ms apart.",
    "device": "Memory is the highest that torch has allocated on the card.",
}
_RESERVE_BYTES = 512 * 2**20
_HOST_BYTES = 64 * 10**9
_SAID = {
    "serial_guidance": "serial guidance",
    "chunked_feed_forward": "chunks",
    "small_blocks": "small blocks",
    "skips_on_host": "skips on host",
    "float8_storage": "float8",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--model", default="world")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--target", type=int, default=None)
    parser.add_argument("--mixers", nargs="+", default=None, help="default: all that the model has")
    parser.add_argument("--steps", type=int, default=None, help="default: the model's own")
    parser.add_argument("--limit", type=float, default=6.0, help="seconds that a piece may take (default: 6)")
    parser.add_argument(
        "--budgets", type=_gigabytes, default=None, metavar="GB,GB", help="only plan SDXL for these"
    )


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return a table per mixer, or the table of plans if budgets are given."""
    if arguments.budgets:
        return [budget_table(arguments.budgets)]
    model = load_model(arguments.model, device=arguments.device, dtype=arguments.dtype)
    engine = Engine(model)
    for adapter in model.adapters.values():
        adapter.warm_up()
    timings = measured_timings(engine, arguments.limit)
    tables = []
    for mixer in arguments.mixers or model.card.mixers:
        settings = Settings(
            prompt=model.card.examples[0] if model.card.examples else "a lake",
            target=arguments.target,
            mixer=mixer,
            num_inference_steps=arguments.steps,
            seed=1,
        )
        tables.append(_compare(engine, settings, timings, arguments.repeats))
    return tables


def measured_timings(engine: Engine, limit_seconds: float) -> tuple[StageTiming, ...]:
    """Return the timings of stages on this machine; raise GspnError if it was busy."""
    timings = []
    for event in engine.measure(limit_seconds=limit_seconds):
        if isinstance(event, StageNotTimed):
            raise GspnError(f"Not measured at {event.size} px: the machine was busy; close other programs.")
        timings.append(event.timing)
    return tuple(timings)


def _compare(engine: Engine, settings: Settings, timings: tuple[StageTiming, ...], repeats: int) -> Table:
    table = Table(
        title=f"{engine.model.card.name}, {settings.mixer}: predicted and measured",
        columns=(
            "stage",
            "calls",
            "GB predicted",
            "GB measured",
            "error",
            "s predicted",
            "s measured",
            "least–most",
            "error",
        ),
    )
    machine = dataclasses.replace(engine.machine, timings=timings)
    predicted = make_plan(settings, engine.model.card, machine, engine.model_calls)
    runs = [_measured(engine, predicted) for _ in range(repeats + 1)][1:]
    worst_bytes = worst_seconds = 0.0
    for stage, *counted in zip(predicted.stages, *runs, strict=True):
        peak = median([done.memory.peak_bytes for done in counted])
        seconds = [done.seconds for done in counted]
        off_bytes, off_seconds = stage.peak_bytes / peak - 1, stage.seconds / median(seconds) - 1
        worst_bytes = max(worst_bytes, abs(off_bytes))
        worst_seconds = max(worst_seconds, abs(off_seconds))
        table.rows.append(
            (
                stage.size,
                stage.calls,
                f"{stage.peak_bytes / 1e9:.2f}",
                f"{peak / 1e9:.2f}",
                f"{off_bytes:+.0%}",
                f"{stage.seconds:.2f}",
                f"{median(seconds):.2f}",
                spread(seconds),
                f"{off_seconds:+.0%}",
            )
        )
    kind = runs[0][0].memory.kind
    table.notes += [
        f"Predicted from a measurement of this machine; measured: the median of {repeats} runs after one.",
        _MEMORY[kind],
        f"Memory is off by {worst_bytes:.0%} at most (bar {BYTES_BAR:.0%}), time by {worst_seconds:.0%} "
        f"(bar {SECONDS_BAR:.0%}).",
    ]
    return table


def _measured(engine: Engine, plan: CascadePlan) -> list[StageDone]:
    """Return the StageDone events of a run, without their pictures."""
    events = engine.run(plan, previews=False)
    return [
        dataclasses.replace(event, image=Image.new("L", (1, 1)))
        for event in events
        if isinstance(event, StageDone)
    ]


def budget_table(budgets: Sequence[float]) -> Table:
    """Return the memory options of full-size SDXL at each size and budget (GB)."""
    sizes = (1024, 2048, 4096, 8192)
    table = Table(
        title="SDXL in bfloat16, neighborhood attention: GB needed, and how, by free memory of the GPU",
        columns=("GB free", *(f"{px} px" for px in sizes)),
    )
    card = dataclasses.replace(SDXL_CARD, shapes=SDXL_SHAPES)
    for budget in budgets:
        machine = Machine(
            device="cuda",
            budget_bytes=int(budget * 1e9),
            base_bytes=_RESERVE_BYTES,
            host_bytes=_HOST_BYTES,
        )
        settings = Settings(prompt="a lake", target=sizes[-1], mixer="neighborhood", seed=0)
        stages = make_plan(settings, card, machine).stages
        table.rows.append((f"{budget:g}", *(describe(stage) for stage in stages)))
    table.notes.append("Arithmetic from shapes, not a measurement; 0.5 GB of it are kept for cuDNN.")
    return table


def describe(stage: StagePlan) -> str:
    """Return a short text of the memory of a stage and its options."""
    need = f"{stage.peak_bytes / 1e9:.1f}"
    if not stage.fits:
        return f"no: {need} at least"
    ways = {"model": ["model offload"], "group": ["group offload"]}.get(stage.choices.residency, [])
    ways += [said for name, said in _SAID.items() if getattr(stage.choices, name)]
    if stage.choices.small_tiles:
        ways.append(f"{stage.vae_tile_px} px tiles")
    return f"{need}: {', '.join(ways) or 'all on the device'}"


def _gigabytes(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) <= 0:
        raise argparse.ArgumentTypeError(f"must be numbers above 0 with commas between, got {text!r}")
    return values
