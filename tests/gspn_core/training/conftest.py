"""What all tests of the training share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def threads(one_thread):
    return one_thread
