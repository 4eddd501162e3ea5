"""Quantized weights against bfloat16: the memory of a UNet, seconds of a picture, distance of the pictures.

Both models are loaded in one process and draw the same prompts by turns.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator

import torch
from PIL import Image

from gspn_core.bench.table import Table, median, spread
from gspn_core.engine import Engine
from gspn_core.events import StageDone
from gspn_core.metrics.fidelity import psnr
from gspn_core.models.catalog import Extras
from gspn_core.models.loading import load_model
from gspn_core.models.quantize import SCHEMES
from gspn_core.settings import Settings

PLAIN = "bfloat16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--model", default="world")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--scheme", choices=tuple(SCHEMES), default="int8")
    parser.add_argument("--target", type=int, default=None, help="px (default: the model's base size)")
    parser.add_argument("--mixers", nargs="+", default=None, help="default: all that the model has")
    parser.add_argument("--steps", type=int, default=None, help="of a picture (default: the model's)")
    parser.add_argument("--prompts", type=int, default=4, help="pictures of each mixer (default: 4)")


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return one table; raises ModelUnavailable where the scheme's package is missing."""
    given = {"device": arguments.device, "dtype": PLAIN}
    models = {
        arguments.scheme: load_model(
            arguments.model, **{**given, "dtype": "auto"}, extras=Extras(quantize=arguments.scheme)
        ),
        PLAIN: load_model(arguments.model, **given),
    }
    card = models[PLAIN].card
    table = Table(
        title=f"{card.name}, {arguments.scheme} against {PLAIN}",
        columns=("mixer", "weights", "UNet, MB", "seconds a picture", "least–most", "PSNR, dB", "least–most"),
    )
    engines = {name: Engine(model) for name, model in models.items()}
    held = {name: weight_bytes(model.pipeline.unet) / 1e6 for name, model in models.items()}
    for mixer in arguments.mixers or card.mixers:
        asked = [
            Settings(
                prompt=prompt,
                target=arguments.target or card.base_px,
                mixer=mixer,
                seed=number,
                num_inference_steps=arguments.steps or card.num_inference_steps,
            )
            for number, prompt in enumerate(card.examples[: arguments.prompts])
        ]
        drawn = by_turns(engines, asked, arguments.repeats)
        for name, (times, pictures) in drawn.items():
            equal = name == PLAIN
            apart = [psnr(*pair) for pair in zip(pictures, drawn[PLAIN][1], strict=True)]
            table.rows.append(
                (mixer, name, f"{held[name]:.1f}", f"{median(times):.2f}", spread(times),
                 "" if equal else f"{statistics.fmean(apart):.1f}", "" if equal else spread(apart))
            )  # fmt: skip
    table.notes.append(f"{len(asked)} pictures of each mixer, {arguments.repeats} times, in turn.")
    return [table]


def by_turns(
    engines: dict[str, Engine], asked: list[Settings], repeats: int
) -> dict[str, tuple[list[float], list[Image.Image]]]:
    """Return each engine's seconds of every counted picture, and its last stage's pictures in order."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    pictures: dict[str, list[Image.Image]] = {name: [] for name in engines}
    for engine in engines.values():
        # Uncounted: it compiles and allocates.
        draw(engine, asked[0])
    for repeat in range(repeats):
        for settings in asked:
            for name, engine in engines.items():
                picture, seconds = draw(engine, settings)
                times[name].append(seconds)
                if repeat == 0:
                    pictures[name].append(picture)
    return {name: (times[name], pictures[name]) for name in engines}


def draw(engine: Engine, settings: Settings) -> tuple[Image.Image, float]:
    """Return a run's last picture and the seconds of its stages."""
    done = [
        event for event in engine.run(engine.plan(settings), previews=False) if isinstance(event, StageDone)
    ]
    return done[-1].image, sum(event.seconds for event in done)


def weight_bytes(unet: torch.nn.Module) -> int:
    """Return the bytes of a network's weights, those of quantized tensors' own parts."""
    return sum(tensor.nbytes for weight in unet.parameters() for tensor in plain_tensors(weight))


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the tensors that a tensor keeps its values in: itself unless it is a wrapper of others."""
    held = tensor.data if isinstance(tensor, torch.nn.Parameter) else tensor
    if not hasattr(held, "__tensor_flatten__"):
        yield held
        return
    for name in held.__tensor_flatten__()[0]:
        yield from plain_tensors(getattr(held, name))
