"""A toy model, trained once for two steps per part and shared by the tests of the training."""

import pytest

from gspn_core.world._denoiser import train_model
from gspn_core.world._loop import LoopConfig
from gspn_core.world._nets import NetConfig
from gspn_core.world._recipe import Recipe
from gspn_core.world._vae import train_vae
from gspn_core.world.train import export, render_cache


@pytest.fixture(scope="session")
def toy_nets():
    """Networks of a few thousand weights on pictures of 64 px."""
    return NetConfig(
        base_px=64,
        vae_channels=(8, 8, 8, 8),
        unet_channels=(16, 16, 16),
        head_dim=8,
        norm_groups=8,
        text_widths=(16, 16),
        text_layers=2,
        time_embed_dim=8,
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory, toy_nets):
    """A recipe whose parts are all trained for two steps, and the exported pipeline's folder."""
    work = tmp_path_factory.mktemp("work")
    loop = LoopConfig(minutes=10, max_steps=2, log_steps=1)
    recipe = Recipe(
        work=work, nets=toy_nets, pictures=12, processes=1, vae_loop=loop, decoder_loop=loop, model_loop=loop,
        distill_loop=loop, vae_batch=2, vae_crop_px=32, model_batch=2, distill_batch=2, sheet_steps=2,
        large_views=1,
    )  # fmt: skip
    render_cache(recipe)
    train_vae(recipe)
    train_model(recipe)
    export(recipe, work / "out")
    return recipe, work / "out"
