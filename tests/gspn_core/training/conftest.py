"""Fixtures of the training tests."""

from __future__ import annotations

import pytest

from gspn_core.world.captions import EXAMPLES


@pytest.fixture(autouse=True)
def threads(one_thread):
    return one_thread


@pytest.fixture(autouse=True)
def small_figures(monkeypatch):
    """Average held-out losses over one batch, and draw sheets of two pictures."""
    monkeypatch.setattr("gspn_core.training.distillation.MEASURES", 1)
    monkeypatch.setattr("gspn_core.training.denoiser.EXAMPLES", EXAMPLES[:2])
