from __future__ import annotations

import subprocess
import sys

import pytest

from gspn_core.runtime import device, machine
from gspn_core.runtime.cgroup import Limit
from gspn_core.runtime.resource_limits import resource_limits

resource = pytest.importorskip("resource", reason="limits of processes are a matter of Unix")
GIB = 2**30
LIMITED = """
import resource, torch
from gspn_core.runtime.machine import free_host_bytes, keep_freed
from gspn_core.runtime.resource_limits import resource_limits
assert not resource_limits()
for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
    resource.setrlimit(kind, (2**32, resource.getrlimit(kind)[1]))
addresses, data = resource_limits()
assert addresses.limit_bytes == data.limit_bytes == 2**32
assert 0 < data.used_bytes < addresses.used_bytes < 2**32
assert free_host_bytes() <= addresses.free_bytes
assert not keep_freed(torch.device("cpu"))
before = resource_limits()[1].used_bytes
held = [torch.ones(2**20) for _ in range(64)]
assert resource_limits()[1].used_bytes > before + 250 * 2**20
del held
# What was freed is not in use: threads and compiled kernels have room again.
assert resource_limits()[1].used_bytes < before + 50 * 2**20
"""


def test_a_process_without_limits_has_none(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (resource.RLIM_INFINITY,) * 2)
    assert resource_limits() == ()


def test_each_limit_has_what_the_process_uses_of_it(monkeypatch, tmp_path):
    soft = {resource.RLIMIT_AS: 4 * GIB, resource.RLIMIT_DATA: 2 * GIB}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft[kind], resource.RLIM_INFINITY))
    pages = GIB // resource.getpagesize()
    statm = tmp_path / "statm"
    statm.write_text(f"{3 * pages} {pages} 0 0 0 {pages} 0\n")
    addresses, data = resource_limits(statm)
    assert addresses == Limit(limit_bytes=4 * GIB, used_bytes=3 * GIB)
    assert data == Limit(limit_bytes=2 * GIB, used_bytes=GIB)
    for text in ("", "a b c", "1 2"):
        statm.write_text(text)
        assert resource_limits(statm) == ()
    assert resource_limits(tmp_path / "missing") == ()


def test_the_planner_and_the_page_count_the_process_limits(monkeypatch):
    import torch

    for module in (machine, device):
        monkeypatch.setattr(module, "resource_limits", lambda: (Limit(limit_bytes=1000, used_bytes=300),))
    assert machine.free_host_bytes() == 700
    assert device.total_bytes(torch.device("cpu")) == 1000


@pytest.mark.skipif(sys.platform != "linux", reason="what a process uses is read where Linux tells it")
def test_a_limited_process_counts_its_limit_and_returns_what_it_frees():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
