"""No weight stays in a mapped file, which could end the process when truncated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gspn_core.models.loading import load_model
from gspn_core.models.mapped_files import copy_mapped
from gspn_core.models.random_weights import write_random_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")


def mapped_in(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]


def test_a_loaded_model_outlives_its_files(tmp_path):
    folder = tmp_path / "model"
    write_random_model(folder, "small")
    # The files are in float16, so no weight needs another dtype.
    pipeline = load_model(str(folder), device="cpu", dtype="float16").pipeline
    assert mapped_in(folder) == []
    before = pipeline.text_encoder.state_dict()
    for path in folder.rglob("*.safetensors"):
        path.write_bytes(b"")
    assert all(torch.isfinite(weight.float()).all() for weight in before.values())


def test_only_what_is_mapped_is_copied(tmp_path):
    layer = nn.Linear(64, 64)
    own = layer.bias.data_ptr()
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.full((64, 64), 2.0)}, path)
    layer.weight.data = load_file(path)["weight"]
    assert mapped_in(path)
    copy_mapped(layer)
    assert mapped_in(path) == []
    assert layer.bias.data_ptr() == own
    assert torch.equal(layer.weight, torch.full((64, 64), 2.0))
