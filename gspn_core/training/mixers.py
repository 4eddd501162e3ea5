"""Compare forms of the GSPN mixer, distilled alike: `python -m gspn_core.training.mixers --work DIR`.

Every form learns from the same attention teacher, on the same batches, for the same minutes: half of them
layer-wise, half end-to-end. Prints a Markdown table and writes it with its figures into the work folder;
finished forms are not repeated. `--ship FORM` trains one of them further by on-policy distillation and writes
it as an adapter.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from gspn_core.attention.adapter import self_attentions
from gspn_core.attention.gspn import GSPNConfig
from gspn_core.errors import GspnError
from gspn_core.files import write_json, write_text
from gspn_core.training.checkpoint import save_checkpoint
from gspn_core.training.distill import train
from gspn_core.training.distillation import Distillation
from gspn_core.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of the mixer. names: the self-attentions that it replaces, None for all."""

    title: str
    config: GSPNConfig
    names: Callable[[nn.Module], frozenset[str] | None] = lambda _: None


def but_the_lowest(unet: nn.Module) -> frozenset[str]:
    """Return the self-attentions above the UNet's lowest resolution, where attention is cheap."""
    deepest = f"down_blocks.{len(unet.down_blocks) - 1}."
    return frozenset(
        name for name in self_attentions(unet) if not name.startswith((deepest, "mid_block.", "up_blocks.0."))
    )


FORMS = {
    "global-convex": Form(title="global, convex gate, weights of a head", config=GSPNConfig()),
    "global-free": Form(title="global, free gate", config=GSPNConfig(gating="free")),
    "chunk-free": Form(
        title="chunks of 4 lines, free gate (as published)", config=GSPNConfig(gating="free", chunk_size=4)
    ),
    "compact": Form(
        title="global, convex, weights shared by all channels",
        config=GSPNConfig(shared_weights="all", scan_ratio=4),
    ),
    "hybrid": Form(
        title="global, convex; attention kept at the lowest resolution",
        config=GSPNConfig(),
        names=but_the_lowest,
    ),
}


def compare(recipe: Recipe, forms: dict[str, Form]) -> list[dict]:
    """Distil every form for recipe.distill_loop.minutes; return their figures, closest first.

    On-policy distillation is left out, since its batches would differ between forms.
    """
    recipe, rows = replace(recipe, layerwise_share=0.5, on_policy_share=0.0), []
    for name, form in forms.items():
        folder = recipe.work / "mixers" / name
        figures = folder / "figures.json"
        if not figures.exists():
            write_json(figures, _distilled(recipe, form, folder))
        rows.append({"name": name, "title": form.title, **json.loads(figures.read_text())})
    return sorted(rows, key=lambda row: row["apart"])


def _distilled(recipe: Recipe, form: Form, folder: Path) -> dict[str, float]:
    blank = Distillation(recipe, folder=folder)
    work = Distillation(recipe, form.config, names=form.names(blank.unet), folder=folder)
    began = time.monotonic()
    train(work)
    save_checkpoint(work.adapter.state_dict(), folder / "adapter.pt")
    return {
        "minutes": (time.monotonic() - began) / 60,
        "mixers": len(work.adapter.mixers),
        "parameters": sum(parameter.numel() for parameter in work.adapter.parameters()),
        **work.losses(),
    }


def ship(recipe: Recipe, name: str, out: Path) -> dict[str, float]:
    """Train a compared form further for recipe.distill_loop.minutes, write its adapter, return its losses."""
    form, folder = FORMS[name], recipe.work / "mixers" / name
    recipe = replace(recipe, layerwise_share=0.0, on_policy_share=1.0)
    blank = Distillation(recipe, folder=folder)
    work = Distillation(recipe, form.config, names=form.names(blank.unet), folder=folder)
    work.adapter.load_state_dict(torch.load(folder / "adapter.pt", weights_only=True))
    train(work)
    losses = work.losses()
    work.adapter.to(torch.float16).save(out)
    return losses


def table(rows: list[dict]) -> str:
    """Return the figures as Markdown: noise losses against attention's, and the distance to attention."""
    lines = [
        "| mixer | attentions replaced | parameters | noise loss / attention's | apart from attention "
        "| at twice the side |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['title']} | {row['mixers']} | {row['parameters'] / 1e6:.2f} M "
        f"| {row['mixer_loss'] / row['attention_loss']:.3f} | {1e3 * row['apart']:.2f}e-3 "
        f"| {1e3 * row['apart_at_twice_the_side']:.2f}e-3 |"
        for row in rows
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Compare from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gspn_core.training.mixers", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--work", type=Path, required=True, help="folder in which the model was trained")
    parser.add_argument("--minutes", type=float, default=3.0, help="of every form")
    parser.add_argument("--forms", nargs="+", choices=tuple(FORMS), default=tuple(FORMS))
    parser.add_argument("--ship", choices=tuple(FORMS), help="write this form as an adapter")
    parser.add_argument(
        "--ship-minutes", type=float, default=8.0, help="of the shipped form's further training"
    )
    parser.add_argument("--out", type=Path, default=Path("assets/world/gspn_adapter"))
    parser.add_argument("--batch", type=int, default=Recipe.distill_batch)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    loop = replace(Recipe.distill_loop, minutes=given.minutes)
    recipe = Recipe(work=given.work, seed=given.seed, distill_loop=loop, distill_batch=given.batch)
    try:
        _run(given, recipe)
    except GspnError as error:
        parser.exit(1, f"{error}\n")


def _run(given: argparse.Namespace, recipe: Recipe) -> None:
    rows = compare(recipe, {name: FORMS[name] for name in given.forms})
    text = table(rows)
    write_text(given.work / "mixers" / "table.md", f"{text}\n")
    write_json(given.work / "mixers" / "table.json", rows, indent=1)
    sys.stdout.write(f"{text}\n")
    if given.ship:
        longer = replace(recipe, distill_loop=replace(recipe.distill_loop, minutes=given.ship_minutes))
        losses = ship(longer, given.ship, given.out)
        shown = ", ".join(f"{name} {value:.5f}" for name, value in losses.items())
        sys.stdout.write(
            f"{given.ship} after {given.ship_minutes:g} minutes more: {shown}; written to {given.out}\n"
        )


if __name__ == "__main__":
    main()
