"""A small SDXL of random weights with a folder of every kind of network that steers it."""

from __future__ import annotations

import pytest

from gspn_core.models.catalog import Extras
from gspn_core.models.condition_layout import CONTROL_LAYOUTS
from gspn_core.models.loading import load_model
from gspn_core.models.random_weights import write_random_control, write_random_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return the folder of the networks; the model is next to it, as `base`."""
    where = tmp_path_factory.mktemp("models")
    write_random_model(where / "base", size="small")
    for number, layout in enumerate(CONTROL_LAYOUTS):
        write_random_control(where / "controls" / layout, layout, size="small", seed=number)
    return where / "controls"


@pytest.fixture(scope="session")
def model(folder):
    """Return the model, loaded with the folder."""
    base = str(folder.parent / "base")
    return load_model(base, device="cpu", dtype="float32", extras=Extras(controls=str(folder)))
