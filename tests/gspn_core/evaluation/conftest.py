"""A toy model and a toy classifier, shared by the tests of all measurements."""

from __future__ import annotations

import pytest
import torch

from gspn_core.metrics.classifier import Classifier
from gspn_core.models.loading import load_model
from gspn_core.world.scene import ATTRIBUTES


@pytest.fixture(autouse=True)
def threads(one_thread):
    return one_thread


@pytest.fixture(scope="session")
def model(trained):
    _, out = trained
    return load_model(str(out), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def classifier():
    torch.manual_seed(0)
    return Classifier(ATTRIBUTES, (8, 8, 8), 8).eval()


@pytest.fixture
def silent():
    """A callback that reports no progress."""
    return lambda *_: None
