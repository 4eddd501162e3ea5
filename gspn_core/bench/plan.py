"""Predicted against measured memory and seconds of every stage; with --budgets, full-size SDXL's plans.

The machine's pace is measured first (`Engine.calibrate`), the run after it. The table of budgets is
arithmetic alone: for a GPU with so much free memory and 64 GB of host memory, without a measured pace.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from gspn_core.bench.table import Table
from gspn_core.engine import Engine
from gspn_core.events import StageDone
from gspn_core.models.catalog import SDXL_CARD
from gspn_core.models.loading import load_model
from gspn_core.models.shapes import SDXL_SHAPES
from gspn_core.plan import StagePlan, make_plan
from gspn_core.plan_fit import Machine
from gspn_core.settings import Settings

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
    """Add what this benchmark can be told."""
    parser.add_argument("--model", default="world")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--target", type=int, default=None)
    parser.add_argument("--mixers", nargs="+", default=None, help="default: all that the model has")
    parser.add_argument("--steps", type=int, default=None, help="default: the model's own")
    parser.add_argument("--limit", type=float, default=6.0, help="seconds a piece may calibrate (default: 6)")
    parser.add_argument(
        "--budgets", type=_gigabytes, default=None, metavar="GB,GB", help="only plan SDXL for these"
    )


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return a table per mixer, or the table of plans where budgets are given."""
    if arguments.budgets:
        return [budget_table(arguments.budgets)]
    model = load_model(arguments.model, device=arguments.device, dtype=arguments.dtype)
    engine = Engine(model)
    for adapter in model.adapters.values():
        adapter.warm_up()
    for _ in engine.calibrate(limit_seconds=arguments.limit):
        pass
    tables = []
    for mixer in arguments.mixers or model.card.mixers:
        settings = Settings(
            prompt=model.card.examples[0] if model.card.examples else "a lake",
            target=arguments.target,
            mixer=mixer,
            num_inference_steps=arguments.steps,
            seed=1,
        )
        tables.append(_compare(engine, settings))
    return tables


def _compare(engine: Engine, settings: Settings) -> Table:
    table = Table(
        title=f"{engine.model.card.name}, {settings.mixer}: predicted and measured",
        columns=(
            "stage",
            "calls",
            "GB predicted",
            "GB measured",
            "ratio",
            "s predicted",
            "s measured",
            "ratio",
        ),
    )
    predicted = engine.plan(settings)
    for event in engine.run(settings, previews=False):
        if not isinstance(event, StageDone):
            continue
        stage = predicted.stages[event.stage.index]
        peak = event.memory.peak_bytes
        table.rows.append(
            (
                stage.size,
                stage.calls,
                f"{stage.peak_bytes / 1e9:.2f}",
                f"{peak / 1e9:.2f}",
                f"{stage.peak_bytes / peak:.2f}",
                f"{stage.seconds:.2f}",
                f"{event.seconds:.2f}",
                f"{stage.seconds / event.seconds:.2f}",
            )
        )
    table.notes.append("Predicted before the run, from a calibration of this machine.")
    return table


def budget_table(budgets: Sequence[float]) -> Table:
    """Return how full-size SDXL would be computed at each size within each budget in GB."""
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
    """Return in a few words what a stage needs and how it is computed."""
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
