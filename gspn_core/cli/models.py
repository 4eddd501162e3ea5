"""`python -m gspn_core.models list | fetch NAME | random DIR`: list, fetch and write models.

Exit codes: 0 done, 2 a bad argument, 3 a model that is not available.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gspn_core.errors import ModelUnavailable
from gspn_core.models.catalog import embedded_cards
from gspn_core.models.condition_layout import CONTROL_LAYOUTS
from gspn_core.models.hub import EXTRAS, SDXL, cached_folder, commit_of, fetch, find_extra

DONE, UNAVAILABLE = 0, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "list":
            _list()
        elif arguments.command == "fetch":
            _fetch(arguments.name)
        else:
            _random(arguments)
    except ModelUnavailable as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return UNAVAILABLE
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gspn_core.models", description="Models of GSPN Studio.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names that --model and its extras take, and whether they are here")
    fetching = commands.add_parser("fetch", help="fetch one of them from the Hub")
    fetching.add_argument("name", help=f"{', '.join((SDXL.name, *EXTRAS))}; all but sdxl also NAME@COMMIT")
    random = commands.add_parser("random", help="write an SDXL folder of random weights (full size: 6.9 GB)")
    random.add_argument("folder", type=Path, metavar="DIR", help="a new folder; with --lora a new file")
    random.add_argument("--size", choices=("full", "small"), default="full", help="default: full")
    random.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    kind = random.add_mutually_exclusive_group()
    kind.add_argument("--refiner", action="store_true", help="the UNet of a refiner in place of a model")
    kind.add_argument(
        "--lora", metavar="MODEL", help="a LoRA file for world or a model's folder in place of a model"
    )
    kind.add_argument("--inpainting", action="store_true", help="a UNet of 9 input channels")
    kind.add_argument(
        "--x4", action="store_true", help="an x4 upscaler in place of a model (full size: 1.7 GB)"
    )
    kind.add_argument(
        "--control",
        choices=CONTROL_LAYOUTS,
        help="a ControlNet or T2I-Adapter in place of a model (full size: 0.2 to 2.5 GB)",
    )
    random.add_argument(
        "--model", metavar="MODEL", help="with --control: world or a model's folder that it is to fit"
    )
    return parser


def _list() -> None:
    for card in embedded_cards():
        print(f"{card.name:<20} here               {card.description}")
    for snapshot in (SDXL, *EXTRAS.values()):
        state = "here" if cached_folder(snapshot) else f"fetch ({snapshot.gigabytes:g} GB)"
        commit = commit_of(snapshot)
        now = f", now {commit[:12]}" if commit and not snapshot.is_fixed else ""
        print(f"{snapshot.name:<20} {state:<18} {snapshot.repo} at {snapshot.revision[:12]}{now}")


def _fetch(name: str) -> None:
    snapshot = SDXL if name == SDXL.name else find_extra(name)
    if snapshot is None:
        raise ModelUnavailable(f"{name} is not one of {', '.join((SDXL.name, *EXTRAS))}; name one of these.")
    print(fetch(snapshot, _progress(f"fetching {name}")))


def _random(arguments: argparse.Namespace) -> None:
    from gspn_core.models.random_weights import write_random_model, write_random_refiner, write_random_x4

    if arguments.lora is not None:
        from gspn_core.models.random_lora import write_random_lora

        written = write_random_lora(arguments.folder, arguments.lora, seed=arguments.seed)
        print(f"{arguments.folder}: {written / 1e6:,.1f} MB of random weights for {arguments.lora}")
        return
    if arguments.control is not None:
        from gspn_core.models.random_weights import write_random_control

        layout, on_bytes = arguments.control, _progress(f"writing {arguments.folder}")
        options = {"model": arguments.model, "seed": arguments.seed, "on_bytes": on_bytes}
        written = write_random_control(arguments.folder, layout, arguments.size, **options)
        print(f"{arguments.folder}: {written / 1e6:,.1f} MB of random weights")
        return
    whole = partial(write_random_model, inpaints=arguments.inpainting)
    write = write_random_refiner if arguments.refiner else write_random_x4 if arguments.x4 else whole
    written = write(
        arguments.folder,
        arguments.size,
        seed=arguments.seed,
        on_bytes=_progress(f"writing {arguments.folder}"),
    )
    print(f"{arguments.folder}: {written / 1e6:,.1f} MB of random weights")


def _progress(what: str):
    """Return a function that shows bytes on the terminal; it shows nothing if stderr is a file."""
    if not sys.stderr.isatty():
        return lambda _done, _total: None

    def show(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        print(f"\r{what}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB", end=end, file=sys.stderr, flush=True)

    return show
