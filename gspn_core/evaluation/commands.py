"""Measure the embedded model without downloads: `python -m gspn_core.evaluation COMMAND`.

`classifier` trains a small network on renders; `figures` draws held-out captions and compares the
pictures with the captions, with true renders and with plain enlargements; `settings` runs the cascade on the
same captions with one setting changed at a time and measures the distance of each to true renders; `climb`
upscales true renders of the base size by several methods and compares the results with true renders of the
target size; `sliders` moves each slider of the later stages over its range and measures what that changes;
`regions` redraws regions of true renders and extends them, and measures what appears and what stays.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from gspn_core.backbones.model import Model
from gspn_core.errors import GspnError
from gspn_core.evaluation.comparison import Comparison, ComparisonConfig
from gspn_core.evaluation.comparison_report import comparison_json, comparison_markdown, comparison_notes
from gspn_core.evaluation.figures import DECODED, TRUTH, bars
from gspn_core.evaluation.measure import Evaluation, MeasureConfig
from gspn_core.evaluation.methods import read_variant
from gspn_core.evaluation.progress import Progress
from gspn_core.evaluation.regions import RegionConfig, Regions, regions_markdown
from gspn_core.evaluation.report import contact_sheet, markdown, to_json, variations_markdown
from gspn_core.evaluation.slider_report import sliders_json, sliders_markdown, sliders_notes
from gspn_core.evaluation.sliders import SliderConfig, Sliders
from gspn_core.evaluation.upscaler import read_upscaler, why_no_upscaler
from gspn_core.evaluation.variations import measure_variations, read_settings, variations
from gspn_core.files import write_json, write_text
from gspn_core.metrics.adherence import CLASSIFIER_FILE
from gspn_core.metrics.classifier import Classifier, read_classifier, save_classifier
from gspn_core.models.catalog import model_folder
from gspn_core.models.loading import load_model
from gspn_core.runtime.device import pick_device
from gspn_core.settings import CHOICES, Mixer
from gspn_core.training.classifier_training import held_out_accuracy, load_classifier, train_classifier
from gspn_core.training.data import RenderCache
from gspn_core.training.loop import LoopConfig
from gspn_core.training.nets import NetConfig
from gspn_core.training.recipe import Recipe

_COUNTS = {
    "pictures": "held-out captions drawn at the base size",
    "cascades": "held-out captions that are taken on to the target; or one number for each larger size",
    "target": "side in px of the largest pictures",
    "crops": "squares cut out of each larger picture; or one number for each larger size",
    "references": "renders of other scenes that sets are compared with",
    "batch": "prompts drawn at once at the base size",
}
_CASCADE_COUNTS = ("cascades", "target", "crops", "references")
# What `settings` tries unless --vary says otherwise.
VARIATIONS = (
    "upscale_strength=0.2,0.3,0.5,0.6",
    "keep_base=0,0.5",
    "gaussian_sigma=0,1",
    "cosine_scale_1=0.5,2",
    "cosine_scale_2=0.35,1",
    "scheduler=euler,dpm++2m",
)
CLASSIFIER_LOOP = LoopConfig(minutes=10, learning_rate=2e-3, average_decay=0.995)


def classifier_command(given: argparse.Namespace) -> None:
    """Train the classifier on a render cache, which is rendered first if missing, and print its accuracy."""
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
        shares = ", ".join(f"{name} {share:.0%}" for name, share in accuracy.items())
        print(f"held-out {group}: {shares}; mean {sum(accuracy.values()) / len(accuracy):.1%}")
    if given.out is not None:
        save_classifier(trained, given.out)


def figures_command(given: argparse.Namespace) -> None:
    """Measure a model and write figures.json, figures.md and sheet.png after each part."""
    evaluation = _evaluation(given, _config(given, tuple(given.mixers)))
    evaluation.measure_files(model_folder(given.model))
    model, config = evaluation.model, evaluation.config
    out = _folder(given)
    for part in evaluation.run():
        judged = bars(evaluation.figures, base_px=model.card.base_px, large_px=4 * model.card.base_px)
        record = to_json(evaluation.figures, judged, _setting(given, evaluation))
        write_json(out / "figures.json", record, indent=1)
        text = markdown(evaluation.figures, judged, _notes(config, model.card.num_inference_steps))
        write_text(out / "figures.md", text)
        print(f"{part}: written to {out}")
    labels, rows = evaluation.sheet_rows(given.rows)
    contact_sheet(rows, labels, model.card.base_px).save(out / "sheet.png")
    print(text)


def settings_command(given: argparse.Namespace) -> None:
    """Measure the last stage with one setting changed at a time; write settings.json and settings.md."""
    varied = variations(VARIATIONS if given.vary is None else given.vary)
    given.pictures = max(given.cascades)
    evaluation = _evaluation(given, _config(given, (given.mixer,)))
    config, steps = evaluation.config, evaluation.model.card.num_inference_steps
    out, rows = _folder(given), []
    for row in measure_variations(evaluation, varied):
        rows.append(row)
        text = variations_markdown(rows, _variation_notes(given, config, steps), px=config.target)
        write_text(out / "settings.md", text)
        record = {"setting": _setting(given, evaluation), "rows": [asdict(each) for each in rows]}
        write_json(out / "settings.json", record, indent=1)
        print(f"{row.title}: written to {out}")
    print(text)


def comparison_command(given: argparse.Namespace) -> None:
    """Compare methods on true pairs; write climb.json and climb.md after each scene, climb.png at the end."""
    config = ComparisonConfig(
        scenes=given.scenes,
        target=given.target,
        crops=given.crops,
        hires=tuple(given.hires),
        variants=tuple(map(read_variant, given.variant)),
        methods=tuple(given.method),
        processes=given.threads,
        seed=given.seed,
    )
    missing = why_no_upscaler(given.esrgan)
    upscaler = None if missing else read_upscaler(given.esrgan, pick_device(given.device))
    model = _model(given)
    comparison = Comparison(model, _classifier(given), given.work, config, Progress(), upscaler)
    out, card = _folder(given), model.card
    setting = {"model": given.model, **asdict(config), "dtype": str(model.pipeline.unet.dtype)}
    for done in comparison.run():
        rows, bases = comparison.rows(), comparison.bases()
        record = comparison_json(rows, comparison.found, bases, setting)
        write_json(out / "climb.json", record, indent=1)
        notes = (*comparison_notes(config, model, done), *([missing] if missing else []))
        text = comparison_markdown(rows, bases, notes, base_px=card.base_px, px=config.target)
        write_text(out / "climb.md", text)
    labels, sheet = comparison.sheet_rows(given.rows)
    contact_sheet(sheet, labels, card.base_px).save(out / "climb.png")
    print(text)


def sliders_command(given: argparse.Namespace) -> None:
    """Measure the sliders of the later stages; write sliders.json and sliders.md after each."""
    model = _model(given)
    config = SliderConfig(
        sliders=tuple(given.sliders),
        values=given.values,
        prompts=given.prompts,
        target=given.target,
        mixer=given.mixer,
        seed=given.seed,
    )
    sliders = Sliders(model, _classifier(given), given.work, config, Progress())
    setting = {"model": given.model, **asdict(config), "dtype": str(model.pipeline.unet.dtype)}
    out, rows = _folder(given), []
    notes = sliders_notes(config.prompts, sliders.mixer, config.target)
    for row in sliders.run():
        rows.append(row)
        text = sliders_markdown(rows, notes, px=config.target)
        write_text(out / "sliders.md", text)
        record = sliders_json(rows, setting)
        write_json(out / "sliders.json", record, indent=1)
        print(f"{row.name}: written to {out}")
    print(text)


def regions_command(given: argparse.Namespace) -> None:
    """Redraw regions of renders and extend them; write regions.json after each scene, print a table."""
    config = RegionConfig(
        scenes=given.scenes, strength=given.strength, extend_strength=given.extend_strength, seed=given.seed
    )
    out = _folder(given)
    regions = Regions(_model(given), _classifier(given), out / "regions.json", config, Progress())
    for rows in regions.run():
        text = regions_markdown(rows)
        write_text(out / "regions.md", text)
    print(text)


def _config(given: argparse.Namespace, mixers: tuple[Mixer, ...]) -> MeasureConfig:
    names = {field.name for field in fields(MeasureConfig)}
    asked = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(given).items()
        if name in names
    }
    return MeasureConfig(
        **{**asked, "mixers": mixers, "asked": read_settings(given.set), "processes": given.threads}
    )


def _evaluation(given: argparse.Namespace, config: MeasureConfig) -> Evaluation:
    return Evaluation(_model(given), _classifier(given), given.work, config, Progress())


def _model(given: argparse.Namespace) -> Model:
    return load_model(given.model, device=given.device, dtype=given.dtype)


def _classifier(given: argparse.Namespace) -> Classifier:
    device = pick_device(given.device)
    if given.classifier is None:
        return read_classifier(CLASSIFIER_FILE, device)
    return load_classifier(given.classifier, device)


def _setting(given: argparse.Namespace, evaluation: Evaluation) -> dict[str, Any]:
    dtype = str(evaluation.model.pipeline.unet.dtype)
    return {"model": given.model, **asdict(evaluation.config), "dtype": dtype}


def _folder(given: argparse.Namespace) -> Path:
    out = given.out or given.work / "figures"
    out.mkdir(parents=True, exist_ok=True)
    return out


def _notes(config: MeasureConfig, card_steps: int) -> tuple[str, ...]:
    return (
        f"{config.pictures} held-out captions at the base size, {_each(config.cascades)} of them in the "
        f"cascades; {_each(config.crops)} crops of each larger picture. {_asked(config, card_steps)}",
        f"The Fréchet distance is taken in the classifier's features against {config.references} renders of "
        f"other scenes; the line “{TRUTH}” is what true renders of the prompts have: the floor. Small "
        "sets are too far apart by chance; the extrapolated distance, which the bars take, is free of that.",
        f"The adherence of “{TRUTH}” is the classifier's own accuracy: the ceiling. At larger sizes "
        "the picture is shrunk to the base size first.",
        "bicubic and lanczos enlarge the base pictures of the card's first mixer; "
        f"“{DECODED}” are the true renders, encoded and decoded by the model's autoencoder.",
    )


def _variation_notes(given: argparse.Namespace, config: MeasureConfig, card_steps: int) -> tuple[str, ...]:
    return (
        f"{config.cascades[-1]} held-out captions, {given.mixer}, to {config.target} px; one setting of "
        f"the later stages is changed at a time. {_asked(config, card_steps)}",
        "A guidance pair is one call of the UNet on both halves of the guidance; those of the dilated branch "
        "count too.",
        f"The Fréchet distance (extrapolated) is that of {config.crops[-1]} crops of each picture from "
        f"{config.references} crops of renders of other scenes; by chance it may end below 0.",
        f"“bicubic” enlarges the same base pictures; “{DECODED}” are true renders of the captions, encoded "
        "and decoded by the model's autoencoder.",
    )


def _each(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{', '.join(map(str, counts))} (by size)"


def _asked(config: MeasureConfig, card_steps: int) -> str:
    asked = {"num_inference_steps": card_steps, **config.asked}
    shown = ", ".join(f"{name}={value}" for name, value in asked.items())
    return f"Settings: {shown}; all others the model's own."


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(prog="python -m gspn_core.evaluation", description=__doc__.splitlines()[0])
    commands = root.add_subparsers(dest="command", required=True)
    classifier = commands.add_parser("classifier", help="train the classifier that the figures are read with")
    classifier.add_argument("--data", type=Path, help="a render cache (default: the folder data in --work)")
    classifier.add_argument("--minutes", type=float, default=CLASSIFIER_LOOP.minutes)
    classifier.add_argument(
        "--pictures", type=int, default=6000, help="size of a cache that is not there yet"
    )
    classifier.add_argument("--batch", type=int, default=24, help="pictures of one training step")
    classifier.add_argument("--out", type=Path, help="write the weights there too, as the model ships them")
    classifier.set_defaults(run=classifier_command)
    figures = commands.add_parser("figures", help="draw held-out captions and measure what came out")
    figures.add_argument("--mixers", nargs="+", default=list(MeasureConfig.mixers))
    figures.add_argument("--rows", type=int, default=8, help="prompts on the contact sheet")
    figures.set_defaults(run=figures_command)
    settings = commands.add_parser("settings", help="measure the cascade with one setting changed at a time")
    settings.add_argument("--mixer", choices=CHOICES["mixer"], default="gspn", help="default: gspn")
    settings.add_argument(
        "--vary",
        nargs="*",
        action="extend",
        metavar="NAME=VALUES",
        help=f"settings and values (default: {' '.join(VARIATIONS)}); none: the model's own settings alone",
    )
    settings.set_defaults(run=settings_command)
    for command in (figures, settings):
        command.add_argument(
            "--set",
            nargs="+",
            action="extend",
            default=[],
            metavar="NAME=VALUE",
            help="settings in place of the model's own, such as guidance_scale=5",
        )
        for name, said in _COUNTS.items():
            if command is figures or name in _CASCADE_COUNTS:
                default = getattr(MeasureConfig, name)
                several = {"nargs": "+"} if isinstance(default, tuple) else {}
                command.add_argument(f"--{name}", type=int, default=default, help=said, **several)
    comparison, sliders = _add_comparison(commands), _add_sliders(commands)
    regions = _add_regions(commands)
    for command in (figures, settings, comparison, sliders, regions):
        command.add_argument("--model", default="world", help="a model's name or folder")
        command.add_argument("--dtype", default="auto")
        command.add_argument(
            "--classifier", type=Path, help="the --work in which one was trained (default: the embedded one)"
        )
        command.add_argument("--out", type=Path, help="default: the folder figures in --work")
    for command in (classifier, figures, settings, comparison, sliders, regions):
        command.add_argument("--work", type=Path, required=True, help="folder of checkpoints and pictures")
        command.add_argument("--device", default="auto")
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--seed", type=int, default=0)
    return root


def _add_regions(commands: Any) -> argparse.ArgumentParser:
    regions = commands.add_parser("regions", help="redraw regions of true renders, and extend them")
    regions.add_argument("--scenes", type=int, default=RegionConfig.scenes, help="held-out scenes")
    regions.add_argument("--strength", type=float, default=RegionConfig.strength, help="of a region")
    regions.add_argument(
        "--extend-strength", type=float, default=RegionConfig.extend_strength, help="of what is added"
    )
    regions.set_defaults(run=regions_command)
    return regions


def _add_comparison(commands: Any) -> argparse.ArgumentParser:
    comparison = commands.add_parser("climb", help="compare methods that take true pictures up to the target")
    comparison.add_argument("--scenes", type=int, default=ComparisonConfig.scenes, help="held-out scenes")
    comparison.add_argument(
        "--target", type=int, default=ComparisonConfig.target, help="side in px of the results"
    )
    comparison.add_argument("--crops", type=int, default=ComparisonConfig.crops, help="crops of each picture")
    comparison.add_argument("--rows", type=int, default=6, help="scenes on the crop sheet")
    comparison.add_argument(
        "--hires",
        type=float,
        nargs="*",
        default=ComparisonConfig.hires,
        metavar="STRENGTH",
        help="strengths of image to image after plain enlargement",
    )
    comparison.add_argument(
        "--method", nargs="+", action="extend", default=[], metavar="NAME", help="these only (default: all)"
    )
    comparison.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="'NAME: SETTINGS'",
        help="one more cascade, such as 'gentle: upscale_strength=0.25, 1024.mixer=attention'; repeatable",
    )
    comparison.add_argument(
        "--esrgan", type=Path, help="file of an upscaler model; needs the package spandrel"
    )
    comparison.set_defaults(run=comparison_command)
    return comparison


def _add_sliders(commands: Any) -> argparse.ArgumentParser:
    sliders = commands.add_parser("sliders", help="measure what each slider of the later stages changes")
    sliders.add_argument("--sliders", nargs="+", default=SliderConfig.sliders, metavar="NAME")
    sliders.add_argument("--values", type=int, default=SliderConfig.values, help="values of each slider")
    sliders.add_argument("--prompts", type=int, default=SliderConfig.prompts, help="held-out captions")
    sliders.add_argument("--target", type=int, default=SliderConfig.target, help="side in px of the pictures")
    sliders.add_argument("--mixer", choices=CHOICES["mixer"], help="default: the model's first")
    sliders.set_defaults(run=sliders_command)
    return sliders


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
