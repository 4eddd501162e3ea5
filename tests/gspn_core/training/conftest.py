"""Fixtures of the training tests."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from diffusers import UNet2DConditionModel

from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.training.denoiser import predict_noise
from gspn_core.training.few_step import Student
from gspn_core.training.loop import LoopConfig
from gspn_core.training.recipe import Recipe
from gspn_core.training.recordings import record
from gspn_core.world.captions import EXAMPLES


@pytest.fixture(autouse=True)
def threads(one_thread):
    return one_thread


@pytest.fixture(autouse=True)
def small_figures(monkeypatch):
    """Average held-out losses over one batch, and draw sheets of two pictures."""
    monkeypatch.setattr("gspn_core.training.distillation.MEASURES", 1)
    monkeypatch.setattr("gspn_core.training.denoiser.EXAMPLES", EXAMPLES[:2])


@pytest.fixture
def few_step_recipe(trained, tmp_path) -> Recipe:
    """Return a recipe of 4 steps whose teacher is the toy model, with mixers."""
    made, out = trained
    start = tmp_path / "model"
    shutil.copytree(out, start)
    unet = UNet2DConditionModel.from_pretrained(out / "unet")
    GSPNAdapter.construct_for(unet, None).save(start / "gspn_adapter")
    loop = LoopConfig(minutes=5, max_steps=4, warmup_steps=1, evaluate_seconds=1e9)
    return replace(made, work=tmp_path / "work", start=start, few_step_loop=loop)


@pytest.fixture
def recorded():
    """Return what records a number of batches of a student's teacher."""

    def write(student: Student, batches: int = 3) -> None:
        def predict(moment):
            noisy, timesteps, captions, ids = moment.pairs()
            return predict_noise(student.modules, student.tokenizer, noisy, timesteps, captions, ids)

        record(
            predict, student.folder / "recordings", base_px=student.recipe.nets.base_px, batch=2, seed=0,
            wanted=lambda count: count < batches,
        )  # fmt: skip

    return write
