"""Draw the runs that come with the embedded model: `python -m gspn_core.cli.examples --out FOLDER`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from gspn_core.engine import Engine
from gspn_core.models.loading import load_model
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.store import Store
from gspn_core.settings import Settings

# Not about.json: an example has no owner, so that no visitor can remove it.
_FILES = ("job.json", "thumb.jpg", "stage-*")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A run to draw. name: part of its id, in whose order examples are shown; target: side in px."""

    name: str
    prompt: str
    seed: int
    target: int = 1024


# The first is what the page opens with: its prompt is the form's own (`gspn_core.world.captions.EXAMPLES`).
EXAMPLES = (
    Example(
        name="example-1-steep-cliffs",
        prompt="steep cliffs with a beach on a bright day, a clear sky and the sun in the sky",
        seed=7,
        target=2048,
    ),
    Example(
        name="example-2-sailboat-and-islands",
        prompt="a sailboat among green islands by day, white clouds",
        seed=4,
    ),
    Example(
        name="example-3-northern-lights",
        prompt="northern lights over a cabin with a lit window and snowy hills at night",
        seed=7,
    ),
    Example(
        name="example-4-sand-dunes",
        prompt="sand dunes in the desert at sunset, clear sky, setting sun, golden tones",
        seed=4,
    ),
    Example(
        name="example-5-hot-air-balloon",
        prompt="a hot air balloon over red mountains in the desert at sunrise, clear sky",
        seed=4,
    ),
    Example(
        name="example-6-moon-over-pines",
        prompt="a crescent moon over pine trees and snowy peaks at night, starry sky",
        seed=8,
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Draw every example that --out does not hold yet; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gspn_core.cli.examples", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets a folder for each")
    given = parser.parse_args(argv)
    missing = [example for example in EXAMPLES if not (given.out / example.name / "job.json").is_file()]
    if not missing:
        return 0
    engine = Engine(load_model())
    with tempfile.TemporaryDirectory() as folder:
        jobs = RunQueue(engine.run, folder, plan=engine.plan)
        try:
            for example in missing:
                draw(example, jobs, given.out)
        finally:
            jobs.close()
    return 0


def draw(example: Example, jobs: RunQueue, out: Path) -> None:
    """Draw an example and keep its files in a folder of its name."""
    settings = Settings(prompt=example.prompt, seed=example.seed, target=example.target)
    run = jobs.submit(settings)
    *_, view = jobs.follow(run)
    if view.state != "done":
        raise SystemExit(f"{example.name}: {view.error or view.state}")
    print(f"{example.name}: {view.elapsed_seconds:.1f} s", flush=True)
    folder = out / example.name
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(file for pattern in _FILES for file in (jobs.folder / run).glob(pattern)):
        if path.is_dir():
            shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, folder / path.name)
    # A run of its settings is to be one of the visitor's own, with another seed.
    store = Store(out)
    store.write_job(replace(store.read_job(example.name), seed_drawn=True))


if __name__ == "__main__":
    sys.exit(main())
