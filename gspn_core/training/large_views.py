"""Latents of views that are larger or longer than the training pictures, for the distillation."""

from collections.abc import Iterator

import numpy as np
import torch
from diffusers import AutoencoderKL

from gspn_core.metrics.samples import to_sample
from gspn_core.training.checkpoint import save_checkpoint
from gspn_core.training.data import caption_of
from gspn_core.training.denoiser import Batch, encoder_digest
from gspn_core.training.nets import LATENT_FACTOR
from gspn_core.training.recipe import Recipe
from gspn_core.world.render.draw import render
from gspn_core.world.scene import sample_scene

# Height and width of larger views in multiples of the training side: square, tall and wide.
LARGE_SHAPES = ((2.0, 2.0), (1.0, 1.5), (1.5, 1.0))


class LargeViews:
    """Whole views of each of LARGE_SHAPES, with captions and micro-conditioning.

    shapes: latents (N, 4, h, w) of each shape. They are encoded once and cached in work/large.pt.
    """

    def __init__(self, recipe: Recipe, vae: AutoencoderKL, rng: np.random.Generator) -> None:
        self.recipe, self.rng = recipe, rng
        path, made_by = recipe.work / "large.pt", encoder_digest(vae)
        state = torch.load(path, weights_only=True) if path.exists() else None
        if not isinstance(state, dict) or state["encoder"] != made_by:
            state = {"shapes": [*self._encode(vae)], "encoder": made_by}
            save_checkpoint(state, path)
        self.shapes = state["shapes"]

    def _encode(self, vae: AutoencoderKL) -> Iterator[torch.Tensor]:
        side, count = self.recipe.nets.base_px, self.recipe.large_views
        for tall, wide in LARGE_SHAPES:
            latents = []
            for number in range(count):
                scene = sample_scene(np.random.default_rng((self.recipe.seed, self._number(number))))
                picture = render(scene, height=int(tall * side), width=int(wide * side))
                with torch.no_grad():
                    sample = torch.from_numpy(to_sample(picture[None]))
                    latents.append(vae.encode(sample).latent_dist.mode())
            yield torch.cat(latents)

    def _number(self, place: int) -> int:
        """Return the number of a scene that is not in the render cache."""
        return self.recipe.pictures + place

    def draw(self, size: int) -> Batch:
        """Return a batch of views of one shape."""
        latents = self.shapes[int(self.rng.integers(len(self.shapes)))]
        places = self.rng.integers(len(latents), size=size)
        captions = [caption_of(self._number(int(p)), seed=self.recipe.seed, rng=self.rng) for p in places]
        height, width = (LATENT_FACTOR * side for side in latents.shape[2:])
        side = self.recipe.nets.base_px
        ids = torch.tensor([[height, width, 0, 0, side, side]], dtype=torch.float32).repeat(size, 1)
        return Batch(latents[torch.from_numpy(places)], captions, ids)
