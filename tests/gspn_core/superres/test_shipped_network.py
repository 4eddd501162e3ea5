"""The network that the embedded models ship with, on a pair of renders that it was not trained on."""

from __future__ import annotations

import filecmp

import numpy as np
import pytest
from PIL import Image
from torch import Generator

from gspn_core.metrics.fidelity import psnr
from gspn_core.metrics.spectra import compare_octaves
from gspn_core.models.catalog import SUPERRES_FOLDER, find_card, model_folder
from gspn_core.superres.upscaler import Upscaler
from gspn_core.superres.weights import CONFIG_FILE, WEIGHTS_FILE, load_network
from gspn_core.training.picture_pairs import draw_pair
from gspn_core.training.superres import SuperResConfig

MODELS = ("world", "world-4-steps")


@pytest.fixture(scope="module")
def pictures() -> dict[str, Image.Image]:
    """A true small picture, the truth, and the small one enlarged by the network and by bicubic."""
    # Another seed than the training's.
    small, large = (Image.fromarray(one) for one in draw_pair(1, SuperResConfig.seed + 1000))
    upscaler = Upscaler(load_network(model_folder("world") / SUPERRES_FOLDER))
    work = upscaler.enlarge(small, large.height, large.width, Generator().manual_seed(0))
    while True:
        try:
            next(work)
        except StopIteration as done:
            drawn = done.value
            break
    bicubic = small.resize(large.size, Image.Resampling.BICUBIC)
    return {"small": small, "truth": large, "network": drawn, "bicubic": bicubic}


def test_it_is_nearer_to_the_truth_than_bicubic(pictures):
    own, plain = (psnr(pictures[name], pictures["truth"]) for name in ("network", "bicubic"))
    assert own > plain + 0.2


def test_it_draws_the_finest_octave_that_bicubic_lacks(pictures):
    shares = []
    for name in ("network", "bicubic"):
        finest = compare_octaves(pictures[name], pictures["truth"], 1)[0]
        shares.append(finest.energy / finest.true_energy)
    assert 0.2 < shares[0] < 1.5 and shares[1] < 0.1


def test_it_keeps_what_it_is_given(pictures):
    small = pictures["small"]
    shrunk = pictures["network"].resize(small.size, Image.Resampling.BOX)
    apart = np.abs(np.asarray(shrunk, dtype=int) - np.asarray(small, dtype=int))
    assert apart.mean() < 3


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_ships_has_it(name):
    assert find_card(name).has_superres
    own, first = (model_folder(each) / SUPERRES_FOLDER for each in (name, MODELS[0]))
    same, other, missing = filecmp.cmpfiles(own, first, (CONFIG_FILE, WEIGHTS_FILE), shallow=False)
    assert not other and not missing and len(same) == 2
