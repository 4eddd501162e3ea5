"""`python -m gspn_core grid FILE --out DIR`: a grid of settings without the page, resumed where it ended.

FILE has the base settings and the axes, as `study.json` of a grid that the Lab or this command exported. DIR
gets what the Lab's archive holds, the archive, and the runs; the same command again goes on where it ended.

Exit codes: 0 done, 1 cells failed, 2 a bad file, setting or argument, 3 the model is unavailable, 5 cannot
write, 130 interrupted (finished cells stay).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from gspn_core.cli.command import (
    DONE,
    FAILED,
    INTERRUPTED,
    Load,
    Runner,
    add_engine_options,
    engine_of,
    exit_code,
    interruptible,
    say,
)
from gspn_core.cli.grid_progress import GridProgress
from gspn_core.errors import BadSetting, GspnError
from gspn_core.images.load import read_file, reference_of
from gspn_core.models.catalog import embedded_folders, find_card
from gspn_core.models.options import extras_of
from gspn_core.planning.types import ModelCard
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.terminal import Progress
from gspn_core.studies.axis import cells_of
from gspn_core.studies.cell import Adherence
from gspn_core.studies.grid_file import EXAMPLE, GridAsked, read_grid
from gspn_core.studies.runner import Studies
from gspn_core.studies.study import Cost, StudyView
from gspn_core.studies.sweep import MOST_CELLS, Sweep, SweepFolder

# Cells that are done must stay until they are exported, whatever they take.
_NO_QUOTA_BYTES = 2**62
# The least time between two exports while cells run: a large grid's page takes a while to write.
_EXPORT_SECONDS = 5.0


def main(
    argv: Sequence[str] | None = None,
    load: Load | None = None,
    find: Callable[..., ModelCard] = find_card,
) -> int:
    """Run the command and return its exit code; `load` replaces `load_engine`."""
    arguments = build_parser().parse_args(argv)
    try:
        card = find(
            arguments.model, device=arguments.device, dtype=arguments.dtype, extras=extras_of(arguments)
        )
        asked = _with_pictures(read_grid(arguments.file, card), arguments)
        home = SweepFolder(arguments.out, card)
        # What is wrong with the grid or the folder is said before the model is loaded.
        cells_of(asked.base, asked.axes, most=MOST_CELLS)
        home.find(asked)
        loading = Progress(quiet=arguments.quiet)
        engine = engine_of(arguments, loading.model, load)
        loading.end()
        return _run(engine, home, asked, card, arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except GspnError as error:
        say(f"error: {error}")
        return exit_code(error)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="python -m gspn_core grid",
        description="Run a grid of settings into a folder; the same command again goes on where it ended.",
        epilog=f"FILE is study.json of an exported grid, or one such as {EXAMPLE}",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="JSON with base settings and one or two axes")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="gets index.html, cells.csv, study.json, images/, study.zip and runs/",
    )
    parser.add_argument("--start", type=Path, metavar="IMAGE", help="the init image of all cells")
    parser.add_argument(
        "--control-image", type=Path, metavar="IMAGE", help="the picture that the control of all cells reads"
    )
    parser.add_argument("--no-zip", dest="zip", action="store_false", help="do not write study.zip")
    add_engine_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    return parser


def _with_pictures(asked: GridAsked, arguments: argparse.Namespace) -> GridAsked:
    """Return the grid with the pictures that are given; raise BadSetting where it needs others."""
    found = {}
    for name, use in (("start", "starts from"), ("control_image", "has a control that reads")):
        needed, path = getattr(asked.base, name), getattr(arguments, name)
        found[name] = needed if path is None else reference_of(read_file(path))
        if needed and (path is None or found[name] != needed):
            size, flag = needed.partition("-")[0], "--" + name.replace("_", "-")
            raise BadSetting(name, f"The grid {use} an image of {size} px; give that one with {flag}.")
    return replace(asked, base=replace(asked.base, **found))


def _run(
    engine: Runner, home: SweepFolder, asked: GridAsked, card: ModelCard, arguments: argparse.Namespace
) -> int:
    home.make()
    jobs = RunQueue(engine.run, home.runs, plan=engine.plan, keep_bytes=_NO_QUOTA_BYTES)
    jobs.claim()
    studies = Studies(jobs, adherence=_adherence(card), most_cells=MOST_CELLS)
    try:
        for path in (arguments.start, arguments.control_image):
            if path is not None:
                jobs.take_start(path, path.name)
        sweep = Sweep(home, jobs, studies)
        planned = sweep.plan(asked)
        progress = GridProgress(len(planned.cells), quiet=arguments.quiet)
        progress.line(_cost_line(studies.cost(planned)))
        with interruptible() as stop, closing(progress), closing(sweep.run(planned, stop)) as views:
            exported = 0.0
            for view in views:
                if progress.show(view) and time.monotonic() - exported > _EXPORT_SECONDS:
                    sweep.export(view, archive=False)
                    exported = time.monotonic()
        sweep.export(view, archive=arguments.zip)
    finally:
        studies.close()
        jobs.close()
    print(home.folder / "index.html")
    return _code(view)


def _adherence(card: ModelCard) -> Adherence | None:
    """Return what the page measures of a cell as well; only the embedded models have a classifier."""
    if card.name not in embedded_folders():
        return None
    from gspn_core.metrics.adherence import PromptAdherence

    return PromptAdherence()


def _cost_line(cost: Cost) -> str:
    return (
        f"{cost.cells} cells of {cost.pictures} images: {cost.stages_to_run} stages to run, "
        f"{cost.stages_shared} shared or cached"
    )


def _code(view: StudyView) -> int:
    if view.state == "stopped":
        return INTERRUPTED
    return DONE if all(cell.state == "done" for cell in view.cells) else FAILED
