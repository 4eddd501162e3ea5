"""Compare this cascade with that of an earlier commit; processes of the two alternate on one machine.

The other commit is checked out into a temporary git worktree and runs with its own embedded model. Each
process loads the model, runs once to warm up and is then timed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gspn_core.bench.table import Table, spread
from gspn_core.errors import GspnError
from gspn_core.models.catalog import find_card
from gspn_core.planning.plan import make_plan
from gspn_core.settings import Settings

ROOT = Path(__file__).parents[2]
_LONGEST_SECONDS = 1800
# Uses only what every commit with a cascade has; runs in the folder of either commit.
_PROGRAM = """
import inspect, json, sys, time
from gspn_core.engine import Engine
from gspn_core.events import StageDone
from gspn_core.models.loading import load_model
from gspn_core.settings import Settings
engine = Engine(load_model("world", dtype=sys.argv[2]))
for _ in range(2):
    seconds, began = {}, time.perf_counter()
    asked = Settings(**json.loads(sys.argv[1]))
    # Commits before this one took settings and planned themselves.
    takes_plan = "plan" in inspect.signature(Engine.run).parameters
    for event in engine.run(engine.plan(asked) if takes_plan else asked):
        if isinstance(event, StageDone):
            seconds[str(event.stage.size)] = event.seconds
    seconds["all"] = time.perf_counter() - began
print(json.dumps(seconds))
"""
# Settings that the first working cascade already had.
_COMPARED_SETTINGS = (
    *("prompt", "target", "mixer", "num_inference_steps", "guidance_scale", "upscale_strength", "seed"),
    "scheduler",
)


def against(arguments: argparse.Namespace) -> Table:
    """Return the minimum seconds of each stage of both commits; raise GspnError if one cannot run."""
    mixer = arguments.mixers[0] if arguments.mixers else None
    asked = Settings(prompt=arguments.prompt, target=arguments.target, mixer=mixer, scheduler="euler", seed=1)
    resolved = make_plan(asked, find_card("world")).settings
    settings = json.dumps({name: getattr(resolved, name) for name in _COMPARED_SETTINGS})
    runs: dict[str, list[dict[str, float]]] = {"there": [], "here": []}
    with checked_out(arguments.against) as other:
        for _ in range(arguments.repeats):
            for side, folder in (("there", other), ("here", ROOT)):
                runs[side].append(_run(folder, settings, arguments.dtype))
    return _table(arguments.against, resolved, arguments.dtype, runs)


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Yield a folder with that commit's files; remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="gspn-against-") as parent:
        folder = Path(parent) / "tree"
        _git("worktree", "add", "--detach", "--force", str(folder), commit)
        try:
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _git(*words: str) -> None:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        raise GspnError("--against needs git, and there is none here; install it.") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise GspnError(f"--against cannot check that commit out ({reason}); name one that `git log` lists.")


def _run(folder: Path, settings: str, dtype: str) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, settings, dtype],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise GspnError(f"the cascade of {folder} did not run ({reason}); choose another commit.")
    return json.loads(done.stdout.splitlines()[-1])


def _table(commit: str, settings: Settings, dtype: str, runs: dict[str, list[dict[str, float]]]) -> Table:
    table = Table(
        title=f"{settings.mixer}, {settings.target} px, {dtype}, against {commit}",
        columns=("stage", f"{commit}, s", "least–most", "here, s", "least–most", "times as fast"),
    )
    for name in runs["here"][0]:
        there, here = ([run[name] for run in runs[side]] for side in ("there", "here"))
        before, now = min(there), min(here)
        ratio = f"{before / now:.2f}"
        table.rows.append((name, f"{before:.2f}", spread(there), f"{now:.2f}", spread(here), ratio))
    table.notes.append("The minimum over runs; processes of the two commits alternate.")
    return table
