"""Every drill in short; `python -m tests.drills` does them in full."""

from __future__ import annotations

from importlib import import_module

import pytest

# The figures that a short drill on a busy machine can tell: no times.
SHORT = {"kills": 3, "disk": 8, "records": 12, "clock": 3, "followers": 96, "fuzz": 120}


@pytest.mark.parametrize("name", SHORT)
def test_a_drill_in_short(name):
    figures = import_module(f"tests.drills.{name}").drill(SHORT[name], lambda _done: None)
    failed = [str(figure) for figure in figures if not figure.holds and figure.unit != "s"]
    assert not failed
