"""Draw the grid that the Lab opens with: `python -m gspn_core.cli.sample_grid --out assets/grid`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from PIL import Image

from gspn_core.engine import Engine
from gspn_core.metrics.adherence import PromptAdherence
from gspn_core.models.loading import load_model
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from gspn_core.studies.axis import Axis
from gspn_core.studies.runner import Studies
from gspn_core.studies.sample import write_sample

# The axis down first, the one across last.
AXES = (
    Axis(name="num_inference_steps", values=(3, 8, 24)),
    Axis(name="guidance_scale", values=(1.0, 3.0, 8.0)),
)
BASE = Settings(
    prompt="a hot air balloon over red mountains in the desert at sunrise, clear sky", seed=4, target=512
)


def main(argv: list[str] | None = None) -> int:
    """Draw the grid into --out, in place of the one that is there; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gspn_core.cli.sample_grid", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets the grid")
    given = parser.parse_args(argv)
    engine = Engine(load_model())
    with tempfile.TemporaryDirectory() as folder:
        jobs = RunQueue(engine.run, folder, plan=engine.plan)
        studies = Studies(jobs, adherence=PromptAdherence())
        try:
            draw(jobs, studies, given.out)
        finally:
            studies.close()
            jobs.close()
    return 0


def draw(jobs: RunQueue, studies: Studies, out: Path) -> None:
    """Run the grid and keep its record and small pictures; raise SystemExit where a cell fails."""
    study = studies.start(studies.draft(BASE, AXES))
    *_, view = studies.follow(study)
    for cell in view.cells:
        if cell.state != "done":
            raise SystemExit(f"{cell.values}: {cell.error or cell.state}")
    pictures = []
    for cell in view.cells:
        *_, run = jobs.follow(cell.job_id)
        with Image.open(run.stages[-1].png_path) as image:
            pictures.append(image.convert("RGB"))
    write_sample(out, view, pictures)


if __name__ == "__main__":
    sys.exit(main())
