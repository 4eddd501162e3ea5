"""Measure the embedded model without downloads: `python -m gspn_core.world.evaluate classifier|figures`.

`classifier` trains a small network on renders; `figures` draws held-out captions and compares what came out
with the captions, with true renders and with plain enlargements.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from gspn_core.errors import GspnError
from gspn_core.runtime.device import pick_device
from gspn_core.world._classifier import held_out_accuracy, train_classifier
from gspn_core.world._data import RenderCache
from gspn_core.world._loop import LoopConfig
from gspn_core.world._nets import NetConfig
from gspn_core.world._recipe import Recipe

CLASSIFIER_LOOP = LoopConfig(minutes=10, learning_rate=2e-3, average_decay=0.995)


def classifier_command(given: argparse.Namespace) -> None:
    """Train the classifier on a render cache, drawn first where it is not there, and print its accuracy."""
    folder = given.data or Recipe(work=given.work).data
    if not (folder / "cache.json").is_file():
        RenderCache.create(folder, count=given.pictures, base_px=NetConfig.base_px, seed=given.seed)
        RenderCache(folder).fill(processes=given.threads)
    cache = RenderCache(folder)
    loop = replace(CLASSIFIER_LOOP, minutes=given.minutes)
    trained = train_classifier(
        cache, given.work, loop, batch=given.batch, seed=given.seed, device=pick_device(given.device)
    )
    for group, accuracy in held_out_accuracy(trained, cache).items():
        told = ", ".join(f"{name} {share:.0%}" for name, share in accuracy.items())
        print(f"held-out {group}: {told}; mean {sum(accuracy.values()) / len(accuracy):.1%}")


def parser() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    root = argparse.ArgumentParser(prog="gspn_core.world.evaluate", description=__doc__.splitlines()[0])
    commands = root.add_subparsers(dest="command", required=True)
    classifier = commands.add_parser("classifier", help="train the classifier that the figures are read with")
    classifier.add_argument("--data", type=Path, help="a render cache (default: the folder data in --work)")
    classifier.add_argument("--minutes", type=float, default=CLASSIFIER_LOOP.minutes)
    classifier.add_argument("--pictures", type=int, default=6000, help="size of a cache drawn anew")
    classifier.add_argument("--batch", type=int, default=24, help="pictures of one training step")
    classifier.set_defaults(run=classifier_command)
    for command in (classifier,):
        command.add_argument("--work", type=Path, required=True, help="folder of checkpoints and pictures")
        command.add_argument("--device", default="auto")
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--seed", type=int, default=0)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    root = parser()
    given = root.parse_args(arguments)
    torch.set_num_threads(given.threads)
    try:
        given.run(given)
    except GspnError as error:
        root.exit(1, f"{error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
