from __future__ import annotations

import pytest

from gspn_core.serving.open_files import allow_open_files

resource = pytest.importorskip("resource")


@pytest.fixture
def limits():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised_as_far_as_it_may_and_never_lowered(limits):
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    assert allow_open_files(1000) == 1000
    assert allow_open_files(700) == 1000
    most = allow_open_files(10**9)
    assert most == (10**9 if hard == resource.RLIM_INFINITY else hard)
