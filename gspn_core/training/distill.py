"""Distil the embedded model's self-attention into GSPN mixers: `python -m gspn_core.training.distill`.

Three passes: layer-wise (each mixer learns from its own attention's inputs and outputs), end-to-end (all
mixers are trained together inside the UNet) and on-policy (on pictures that they sample themselves, with
guided predictions). In addition to square latents of the training size, every pass has wide and larger
ones, so that the mixers work at the sizes of a cascade.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from gspn_core.attention.gspn import GSPNConfig
from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.errors import GspnError
from gspn_core.training.checkpoint import InitialWeights, digest_of
from gspn_core.training.distillation import Distillation
from gspn_core.training.loop import Loop
from gspn_core.training.recipe import Recipe

# Earlier names of the passes' checkpoints, from which a training resumes too.
_EARLIER_NAMES = {"layer-wise": "align", "end-to-end": "whole", "on-policy": "drawn"}


def distill(recipe: Recipe, config: GSPNConfig | None = None) -> GSPNAdapter:
    """Train an adapter for the model in work/model.pt, or in start; return it, averaged, in float32."""
    work = Distillation(recipe, config)
    train(work)
    return work.adapter


def train(work: Distillation) -> None:
    """Train a distillation's mixers pass by pass, and load their averages into the adapter.

    A pass resumes from its checkpoint if that started from the result of the passes before.

    Raises:
        GspnError: a checkpoint belongs to other mixers, another teacher, or shorter earlier passes.
    """
    recipe = work.recipe
    rate = recipe.distill_loop.learning_rate
    passes = (
        ("layer-wise", work.layerwise_step, recipe.layerwise_share, rate),
        ("end-to-end", work.end_to_end_step, 1 - recipe.layerwise_share - recipe.on_policy_share, rate / 3),
        ("on-policy", work.on_policy_step, recipe.on_policy_share, rate / 3),
    )
    for place, (name, step, share, rate) in enumerate(passes):
        if share < 1e-6:
            continue
        mixers = nn.ModuleList(work.adapter.mixers.values())
        settings = replace(
            recipe.distill_loop, minutes=recipe.distill_loop.minutes * share, learning_rate=rate
        )
        path = _checkpoint(work.folder, name)
        began = InitialWeights(path, digest_of(mixers, *work.modules.values()))
        loop = Loop({"mixers": mixers}, settings, path, stateful={"began": began})
        work.reseed(place, loop.step)
        loop.run(step, work.log)
        work.load_averages(loop)
        work.measure(loop.step)
    work.adapter.trained = True


def _checkpoint(folder: Path, name: str) -> Path:
    """Return the path of a pass's checkpoint; one of an earlier version is renamed."""
    path, earlier = folder / f"{name}.pt", folder / f"{_EARLIER_NAMES[name]}.pt"
    if earlier.is_file() and not path.exists():
        earlier.rename(path)
    return path


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(
        prog="python -m gspn_core.training.distill", description=__doc__.splitlines()[0]
    )
    root.add_argument("--work", type=Path, required=True, help="folder in which the model was trained")
    root.add_argument("--out", type=Path, default=Path("assets/world/gspn_adapter"))
    root.add_argument("--minutes", type=float, default=Recipe.distill_loop.minutes)
    root.add_argument(
        "--start",
        type=Path,
        help="folder of an earlier model whose mixers to start from; the teacher too where --work has none",
    )
    root.add_argument("--batch", type=int, default=Recipe.distill_batch)
    root.add_argument(
        "--layerwise-share",
        type=float,
        default=Recipe.layerwise_share,
        help="share of the minutes for layer-wise distillation; 0 for mixers that went through it before",
    )
    root.add_argument(
        "--on-policy-share",
        type=float,
        help=f"share for on-policy distillation (default: {Recipe.on_policy_share}, or what is left)",
    )
    # Earlier names of these flags.
    hidden = {"type": float, "help": argparse.SUPPRESS, "default": argparse.SUPPRESS}
    root.add_argument("--align-share", dest="layerwise_share", **hidden)
    root.add_argument("--drawn-share", dest="on_policy_share", **hidden)
    root.add_argument("--threads", type=int, default=2)
    root.add_argument("--seed", type=int, default=0, help="the one that --work was trained with")
    return root


def main(arguments: list[str] | None = None) -> None:
    """Distil from the command line and write the adapter."""
    root = parser()
    given = root.parse_args(arguments)
    torch.set_num_threads(given.threads)
    on_policy_share = given.on_policy_share
    if on_policy_share is None:
        on_policy_share = min(Recipe.on_policy_share, max(0.0, 1 - given.layerwise_share))
    try:
        recipe = Recipe(
            work=given.work,
            start=given.start,
            seed=given.seed,
            distill_loop=replace(Recipe.distill_loop, minutes=given.minutes),
            distill_batch=given.batch,
            layerwise_share=given.layerwise_share,
            on_policy_share=on_policy_share,
        )
        distill(recipe).to(torch.float16).save(given.out)
    except GspnError as error:
        root.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
