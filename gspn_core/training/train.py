"""Train the embedded model: `python -m gspn_core.training.train PART --work DIR`.

The parts are in `data`, `vae` and `denoiser`; this has their order and the files of the result.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from gspn_core.errors import GspnError
from gspn_core.training.data import RenderCache
from gspn_core.training.denoiser import build_model, pipeline_of, train_model
from gspn_core.training.loop import Loop
from gspn_core.training.nets import build_vae
from gspn_core.training.recipe import Recipe
from gspn_core.training.vae import train_decoder, train_vae


def render_cache(recipe: Recipe) -> None:
    """Render the pictures of the recipe that are missing in the cache."""
    cache = RenderCache.create(
        recipe.data, count=recipe.pictures, base_px=recipe.nets.base_px, seed=recipe.seed
    )
    cache.fill(processes=recipe.processes)


def export(recipe: Recipe, out: Path) -> None:
    """Write the averaged weights as an SDXL pipeline: safetensors, the UNet and the autoencoder in float16.

    The text encoders stay in float32: they are small, and are loaded in the precision they were saved in.
    An untrained model is written as initialised.
    """
    torch.manual_seed(recipe.seed)
    tokenizer, modules = build_model(recipe)
    parts = Loop(modules, recipe.model_loop, recipe.work / "model.pt").averages
    parts["unet"].set_default_attn_processor()
    # Built again, since the config of a loaded one has the folder that it was loaded from.
    vae = build_vae(recipe.nets)
    vae.load_state_dict(AutoencoderKL.from_pretrained(recipe.work / "vae").state_dict())
    parts["unet"].to(torch.float16, memory_format=torch.contiguous_format)
    pipeline = pipeline_of(parts, vae.half(), tokenizer)
    pipeline.save_pretrained(out, safe_serialization=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the parts named on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gspn_core.training.train", description=__doc__.splitlines()[0]
    )
    parser.add_argument("part", choices=("data", "vae", "model", "decoder", "export", "all"))
    parser.add_argument("--work", type=Path, required=True, help="folder of caches and checkpoints")
    parser.add_argument("--out", type=Path, default=Path("assets/world"), help="where export writes")
    parser.add_argument("--minutes", type=float, help="length of this part's training")
    parser.add_argument("--pictures", type=int, default=Recipe.pictures, help="size of the render cache")
    parser.add_argument("--processes", type=int, default=Recipe.processes, help="processes that render")
    parser.add_argument("--threads", type=int, default=2, help="threads that train")
    parser.add_argument("--batch", type=int, help="pictures of one training step of this part")
    parser.add_argument("--start", type=Path, help="folder of an earlier model to start from")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    recipe = Recipe(
        work=given.work,
        start=given.start,
        seed=given.seed,
        pictures=given.pictures,
        processes=given.processes,
    )
    if given.minutes:
        recipe = replace(
            recipe,
            vae_loop=replace(recipe.vae_loop, minutes=given.minutes),
            model_loop=replace(recipe.model_loop, minutes=given.minutes),
            decoder_loop=replace(recipe.decoder_loop, minutes=given.minutes),
        )
    if given.batch:
        recipe = replace(recipe, vae_batch=given.batch, model_batch=given.batch)
    parts = {
        "data": lambda: render_cache(recipe),
        "vae": lambda: train_vae(recipe),
        "model": lambda: train_model(recipe),
        "decoder": lambda: train_decoder(recipe),
        "export": lambda: export(recipe, given.out),
    }
    try:
        for name in parts if given.part == "all" else (given.part,):
            parts[name]()
    except GspnError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
