"""Measure the embedded model without downloads: `python -m gspn_core.world.evaluate classifier|figures`.

`classifier` trains a small network on renders; `figures` draws held-out captions and compares what came out
with the captions, with true renders and with plain enlargements.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch

from gspn_core.errors import GspnError
from gspn_core.models.catalog import model_folder
from gspn_core.models.loading import load_model
from gspn_core.runtime.device import pick_device
from gspn_core.settings import CHOICES
from gspn_core.world._classifier import read_classifier, save_classifier
from gspn_core.world._classifier_training import held_out_accuracy, load_classifier, train_classifier
from gspn_core.world._data import RenderCache
from gspn_core.world._figures import TRUTH, bars
from gspn_core.world._loop import LoopConfig
from gspn_core.world._measure import Evaluation, MeasureConfig
from gspn_core.world._nets import NetConfig
from gspn_core.world._progress import Progress
from gspn_core.world._recipe import Recipe
from gspn_core.world._report import contact_sheet, markdown, to_json
from gspn_core.world.adherence import CLASSIFIER_FILE

_COUNTS = {
    "pictures": "held-out captions drawn at the base size",
    "cascades": "how many of them are taken on to the target",
    "target": "side in px of the largest pictures",
    "crops": "squares cut out of each larger picture",
    "references": "renders of other scenes that sets are compared with",
    "steps": "denoising steps (default: the model's own)",
    "batch": "prompts drawn at once at the base size",
}
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
    if given.out is not None:
        save_classifier(trained, given.out)


def figures_command(given: argparse.Namespace) -> None:
    """Measure a model and write figures.json, figures.md and sheet.png after each part."""
    device = pick_device(given.device)
    classifier = (
        read_classifier(CLASSIFIER_FILE, device)
        if given.classifier is None
        else load_classifier(given.classifier, device)
    )
    model = load_model(given.model, device=given.device, dtype=given.dtype)
    names = {field.name for field in fields(MeasureConfig)}
    told = {name: value for name, value in vars(given).items() if name in names}
    config = MeasureConfig(**{**told, "mixers": tuple(given.mixers), "processes": given.threads})
    evaluation = Evaluation(model, classifier, given.work, config, Progress(print))
    evaluation.measure_files(model_folder(given.model))
    out = given.out or given.work / "figures"
    out.mkdir(parents=True, exist_ok=True)
    setting = {"model": given.model, **asdict(config), "dtype": str(model.pipeline.unet.dtype)}
    for part in evaluation.run():
        judged = bars(evaluation.figures, base_px=model.card.base_px, large_px=4 * model.card.base_px)
        record = to_json(evaluation.figures, judged, setting)
        (out / "figures.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        text = markdown(evaluation.figures, judged, _notes(config, model.card.num_inference_steps))
        (out / "figures.md").write_text(text, encoding="utf-8")
        print(f"{part}: written to {out}")
    labels, rows = evaluation.sheet_rows(given.rows)
    contact_sheet(rows, labels, model.card.base_px).save(out / "sheet.png")
    print(text)


def _notes(config: MeasureConfig, card_steps: int) -> tuple[str, ...]:
    return (
        f"{config.pictures} held-out captions at the base size, {config.cascades} of them in the cascades, "
        f"{config.steps or card_steps} steps; {config.crops} crops of each larger picture.",
        f"The Fréchet distance is taken in the classifier's features against {config.references} renders of "
        f"other scenes; the line “{TRUTH}” is what true renders of the prompts have: the floor. Small "
        "sets are too far apart by chance; the extrapolated distance, which the bars take, is free of that.",
        f"The adherence of “{TRUTH}” is what the classifier itself tells right: the ceiling. At larger sizes "
        "the picture is shrunk to the base size first.",
        "bicubic and lanczos enlarge the base pictures of the card's first mixer.",
    )


def parser() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    root = argparse.ArgumentParser(prog="gspn_core.world.evaluate", description=__doc__.splitlines()[0])
    commands = root.add_subparsers(dest="command", required=True)
    classifier = commands.add_parser("classifier", help="train the classifier that the figures are read with")
    classifier.add_argument("--data", type=Path, help="a render cache (default: the folder data in --work)")
    classifier.add_argument("--minutes", type=float, default=CLASSIFIER_LOOP.minutes)
    classifier.add_argument("--pictures", type=int, default=6000, help="size of a cache drawn anew")
    classifier.add_argument("--batch", type=int, default=24, help="pictures of one training step")
    classifier.add_argument("--out", type=Path, help="write the weights there too, as the model ships them")
    classifier.set_defaults(run=classifier_command)
    figures = commands.add_parser("figures", help="draw held-out captions and measure what came out")
    figures.add_argument("--model", default="world", help="a model's name or folder")
    figures.add_argument("--dtype", default="auto")
    figures.add_argument(
        "--classifier", type=Path, help="the --work in which one was trained (default: the embedded one)"
    )
    figures.add_argument("--guidance-scale", type=float, help="default: the model's own")
    figures.add_argument("--scheduler", choices=CHOICES["scheduler"], help="default: the model's own")
    figures.add_argument("--out", type=Path, help="default: the folder figures in --work")
    figures.add_argument("--mixers", nargs="+", default=list(MeasureConfig.mixers))
    for name, told in _COUNTS.items():
        figures.add_argument(f"--{name}", type=int, default=getattr(MeasureConfig, name), help=told)
    figures.add_argument("--rows", type=int, default=8, help="prompts on the contact sheet")
    figures.set_defaults(run=figures_command)
    for command in (classifier, figures):
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
