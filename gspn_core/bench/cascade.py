"""Seconds and memory of every stage of a cascade, for each mixer.

"since Run" counts from the call of Engine.run with the model loaded, so the first row is what a person waits
for the first card; the first run warms up and is not counted.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

from gspn_core.bench.table import Table, median, spread
from gspn_core.engine import Engine
from gspn_core.events import CascadeDone, StageDone, StageStarted
from gspn_core.models.loading import load_model
from gspn_core.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this benchmark can be told."""
    parser.add_argument("--model", default="world")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--target", type=int, default=None)
    parser.add_argument("--mixers", nargs="+", default=None, help="default: all that the model has")
    parser.add_argument("--prompt", default="snowy mountains over a lake at dusk")


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return one table per mixer."""
    model = load_model(arguments.model, device=arguments.device, dtype=arguments.dtype)
    engine = Engine(model)
    tables = []
    for mixer in arguments.mixers or model.card.mixers:
        settings = Settings(prompt=arguments.prompt, target=arguments.target, mixer=mixer, seed=1)
        list(engine.run(settings))
        runs = [_run(engine, settings) for _ in range(arguments.repeats)]
        tables.append(_table(f"{model.card.name}, {mixer}", runs))
    return tables


def _run(engine: Engine, settings: Settings) -> dict[str, dict]:
    rows: dict[str, dict] = defaultdict(dict)
    since = 0.0
    for event in engine.run(settings):
        if isinstance(event, StageStarted):
            rows[str(event.stage.size)] = {"steps": event.stage.steps, "calls": event.model_calls}
        elif isinstance(event, StageDone):
            since += event.seconds
            rows[str(event.stage.size)].update(
                seconds=event.seconds, since=since, peak=event.memory.peak_bytes, kind=event.memory.kind
            )
        elif isinstance(event, CascadeDone):
            rows["all"] = {"seconds": event.seconds}
    return rows


def _table(title: str, runs: list[dict[str, dict]]) -> Table:
    first = runs[0]
    kind = next(row["kind"] for row in first.values() if "kind" in row)
    table = Table(
        title=title,
        columns=(
            "stage",
            "steps",
            "UNet calls",
            "seconds",
            "least–most",
            "since Run",
            f"peak {kind} memory, GB",
        ),
    )
    for name, row in first.items():
        seconds = [run[name]["seconds"] for run in runs]
        if name == "all":
            table.rows.append((name, "", "", f"{median(seconds):.2f}", spread(seconds), "", ""))
            continue
        since = median([run[name]["since"] for run in runs])
        peak = max(run[name]["peak"] for run in runs) / 1e9
        table.rows.append(
            (
                name,
                row["steps"],
                row["calls"],
                f"{median(seconds):.2f}",
                spread(seconds),
                f"{since:.2f}",
                f"{peak:.2f}",
            )
        )
    return table
