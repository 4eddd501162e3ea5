"""Seconds and memory of every stage of a cascade, for each mixer.

"since Run" counts from the call of Engine.run with the model loaded, so the first row is the time to the
first picture. The process's first run, which also loads the compiled scan, is listed separately.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

from gspn_core.bench.against import against
from gspn_core.bench.table import Table, median, spread
from gspn_core.engine import Engine
from gspn_core.events import CascadeDone, PlanReady, StageDone
from gspn_core.models.loading import load_model
from gspn_core.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--model", default="world")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--target", type=int, default=None)
    parser.add_argument("--mixers", nargs="+", default=None, help="default: all that the model has")
    parser.add_argument(
        "--against", metavar="COMMIT", help="also run that commit's cascade, alternating with this one"
    )
    parser.add_argument("--prompt", default="snowy mountains over a lake at dusk")


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return one table per mixer, or only the comparison with another commit."""
    if arguments.against is not None:
        return [against(arguments)]
    model = load_model(arguments.model, device=arguments.device, dtype=arguments.dtype)
    engine = Engine(model)
    tables = []
    for mixer in arguments.mixers or model.card.mixers:
        settings = Settings(prompt=arguments.prompt, target=arguments.target, mixer=mixer, seed=1)
        cold = _run(engine, settings)
        runs = [_run(engine, settings) for _ in range(arguments.repeats)]
        table = _table(f"{model.card.name}, {mixer}", runs)
        first, *_, last = cold.values()
        shown = f"{first['since']:.2f} s to the first card, {last['seconds']:.2f} s in all"
        table.notes.append(f"First run of the process: {shown}.")
        tables.append(table)
    return tables


def _run(engine: Engine, settings: Settings) -> dict[str, dict]:
    rows: dict[str, dict] = defaultdict(dict)
    began = time.perf_counter()
    for event in engine.run(engine.plan(settings)):
        if isinstance(event, PlanReady):
            for stage, calls in zip(event.plan.stages, event.model_calls, strict=True):
                rows[str(stage.size)] = {"steps": stage.steps, "calls": f"{calls:g}"}
        elif isinstance(event, StageDone):
            since = time.perf_counter() - began
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
