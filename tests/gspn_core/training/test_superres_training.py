"""The training of the super-resolution network at toy size: pairs, worn inputs, training, export."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from gspn_core.errors import GspnError
from gspn_core.superres.weights import load_network, save_network
from gspn_core.training import picture_pairs, superres
from gspn_core.training.loop import LoopConfig
from gspn_core.training.picture_pairs import CROP_PX, SCALE, draw_pair, draw_pairs, read_pairs
from gspn_core.training.superres import SuperResConfig, Worn, train, turned


@pytest.fixture
def config(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(picture_pairs, "CHUNK", 2)
    monkeypatch.setattr(picture_pairs, "CROP_PX", 64)
    monkeypatch.setattr(superres, "MEASURED", 2)
    draw_pairs(tmp_path / "pairs", count=4, seed=0, processes=1)
    _, out = trained
    loop = LoopConfig(minutes=5, max_steps=3, warmup_steps=1, evaluate_seconds=1e9)
    return SuperResConfig(work=tmp_path, model=out, batch=2, loop=loop)


def test_the_small_picture_of_a_pair_is_the_same_crop_of_the_view():
    small, large = draw_pair(3, 0)
    assert large.shape == (CROP_PX, CROP_PX, 3) and small.shape[0] == CROP_PX // SCALE
    shrunk = large.reshape(CROP_PX // SCALE, SCALE, CROP_PX // SCALE, SCALE, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 6


def test_pairs_are_kept_and_each_is_the_same_on_every_call(config):
    pairs = read_pairs(config.work / "pairs")
    assert pairs.small.shape == (4, 16, 16, 3) and pairs.large.shape == (4, 64, 64, 3)
    assert np.array_equal(pairs.large[3], draw_pair(3, 0)[1])


def test_without_pairs_the_command_that_makes_them_is_named(tmp_path):
    with pytest.raises(GspnError, match=r"no pairs; .*superres pairs"):
        train(SuperResConfig(work=tmp_path))


def test_both_pictures_of_a_pair_are_mirrored_together():
    small, large = np.arange(12).reshape(1, 2, 2, 3), np.arange(48).reshape(1, 4, 4, 3)
    seen = set()
    for seed in range(8):
        one, other = turned(small, large, np.random.default_rng(seed))
        seen.add(mirrored := not np.array_equal(one, small))
        assert mirrored == (not np.array_equal(other, large))
    assert seen == {True, False}


def test_a_share_of_the_small_pictures_is_worn_and_a_share_stays_true(config):
    worn = Worn(AutoencoderKL.from_pretrained(config.model / "vae"))
    small = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)
    sample = worn(small, np.random.default_rng(1))
    true = torch.from_numpy(small.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    same = (sample - true).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert 0.2 < float(same.float().mean()) < 0.7
    assert sample.abs().max() <= 1


def test_it_learns_with_and_without_the_discriminator_and_resumes(config, tmp_path, monkeypatch):
    loop = train(config)
    lines = [json.loads(line) for line in (tmp_path / "superres.jsonl").read_text().splitlines()]
    assert loop.step == 3 and {"psnr_true", "psnr_coded", "psnr_bicubic", "grain_true"} <= lines[-1].keys()
    assert [*(tmp_path / "sheets").glob("superres-*.png")]
    monkeypatch.setattr(superres, "PLAIN_SHARE", 0.0)
    again = train(replace(config, loop=replace(config.loop, max_steps=5)))
    assert again.step == 5
    save_network(again.averages["network"], tmp_path / "out")
    found = load_network(tmp_path / "out")
    for name, weight in again.averages["network"].state_dict().items():
        assert torch.equal(found.state_dict()[name], weight.half().float()), name
