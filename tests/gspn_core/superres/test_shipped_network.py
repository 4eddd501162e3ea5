"""The network that the embedded models ship with, on a pair of renders that it was not trained on."""

from __future__ import annotations

import filecmp

import numpy as np
import pytest
from PIL import Image
from torch import Generator

from gspn_core.metrics.fidelity import psnr, ssim
from gspn_core.models.catalog import SUPERRES_FOLDER, find_card, model_folder
from gspn_core.superres.upscaler import Upscaler
from gspn_core.superres.weights import CONFIG_FILE, WEIGHTS_FILE, load_network
from gspn_core.training.picture_pairs import draw_pair
from gspn_core.training.superres import SuperResConfig

MODELS = ("world", "world-4-steps")


@pytest.fixture(scope="module")
def pictures() -> list[dict[str, Image.Image]]:
    """True small pictures, the truth, and the small ones enlarged by the network and by bicubic."""
    upscaler = Upscaler(load_network(model_folder("world") / SUPERRES_FOLDER))
    # Another seed than the training's.
    return [_pictures(upscaler, *draw_pair(number, SuperResConfig.seed + 1000)) for number in range(4)]


def _pictures(upscaler: Upscaler, small: np.ndarray, large: np.ndarray) -> dict[str, Image.Image]:
    small, truth = Image.fromarray(small), Image.fromarray(large)
    work = upscaler.enlarge(small, truth.height, truth.width, Generator().manual_seed(0))
    while True:
        try:
            next(work)
        except StopIteration as done:
            drawn = done.value
            break
    bicubic = small.resize(truth.size, Image.Resampling.BICUBIC)
    return {"small": small, "truth": truth, "network": drawn, "bicubic": bicubic}


def test_it_is_nearer_to_the_truth_than_bicubic(pictures):
    own, plain = (
        np.mean([psnr(scene[name], scene["truth"]) for scene in pictures]) for name in ("network", "bicubic")
    )
    assert own > plain + 0.05


def test_its_structures_are_more_like_those_of_the_truth(pictures):
    own, plain = (
        np.mean([ssim(scene[name], scene["truth"]) for scene in pictures]) for name in ("network", "bicubic")
    )
    assert own > plain


def test_it_keeps_what_it_is_given(pictures):
    for scene in pictures:
        shrunk = scene["network"].resize(scene["small"].size, Image.Resampling.BOX)
        apart = np.abs(np.asarray(shrunk, dtype=int) - np.asarray(scene["small"], dtype=int))
        assert apart.mean() < 4


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_ships_has_it(name):
    assert find_card(name).has_superres
    own, first = (model_folder(each) / SUPERRES_FOLDER for each in (name, MODELS[0]))
    same, other, missing = filecmp.cmpfiles(own, first, (CONFIG_FILE, WEIGHTS_FILE), shallow=False)
    assert not other and not missing and len(same) == 2
