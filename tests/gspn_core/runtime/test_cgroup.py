from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from gspn_core.runtime import device, machine
from gspn_core.runtime.cgroup import Limit, memory_limits

GIB = 2**30


def put(folder: Path, **files: int | str) -> None:
    """Write the files of one group, such as memory_max for memory.max."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("memory_", "memory.", 1)).write_text(f"{content}\n")


@pytest.fixture
def own(tmp_path):
    """Return a function that names the process's own groups and returns that file."""

    def name(text: str) -> Path:
        (tmp_path / "own").write_text(text)
        return tmp_path / "own"

    return name


def test_a_limit_of_the_own_group_counts(own, tmp_path):
    put(tmp_path / "system.slice" / "studio.service", memory_max=2 * GIB, memory_current=GIB)
    limits = memory_limits(own("0::/system.slice/studio.service\n"), tmp_path)
    assert limits == (Limit(limit_bytes=2 * GIB, used_bytes=GIB),)
    assert limits[0].free_bytes == GIB


def test_every_limit_up_the_way_counts_and_max_is_none(own, tmp_path):
    put(tmp_path / "a" / "b" / "c", memory_max="max", memory_current=GIB)
    put(tmp_path / "a" / "b", memory_max=8 * GIB, memory_current=GIB)
    put(tmp_path / "a", memory_max=3 * GIB, memory_current=2 * GIB)
    put(tmp_path / "other", memory_max=1, memory_current=1)
    limits = memory_limits(own("0::/a/b/c\n"), tmp_path)
    assert [limit.limit_bytes for limit in limits] == [8 * GIB, 3 * GIB]
    assert min(limit.free_bytes for limit in limits) == GIB


def test_a_container_has_its_limit_at_the_root_whatever_its_path_is_outside(own, tmp_path):
    put(tmp_path, memory_max=4 * GIB, memory_current=GIB)
    for line in ("0::/\n", "0::/docker/0123\n", "0::/../../docker/0123\n", ""):
        assert [limit.limit_bytes for limit in memory_limits(own(line), tmp_path)] == [4 * GIB]


def test_version_1_has_a_folder_for_its_memory_controller(own, tmp_path):
    put(
        tmp_path / "memory" / "job",
        memory_limit_in_bytes=5 * GIB,
        memory_usage_in_bytes=4 * GIB,
        memory_stat=f"cache 1\ntotal_inactive_file {GIB}",
    )
    put(tmp_path / "memory", memory_limit_in_bytes=2**63 - 4096, memory_usage_in_bytes=6 * GIB)
    text = "12:cpu,cpuacct:/elsewhere\n4:hugetlb,memory:/job\n0::/job\n"
    limits = memory_limits(own(text), tmp_path)
    assert min(limit.free_bytes for limit in limits) == 2 * GIB


def test_pages_of_files_that_can_be_given_back_are_free(own, tmp_path):
    put(tmp_path / "a", memory_max=4 * GIB, memory_current=4 * GIB, memory_stat=f"inactive_file {3 * GIB}")
    assert memory_limits(own("0::/a"), tmp_path)[0].free_bytes == 3 * GIB


@pytest.mark.parametrize("line", ["", "nonsense", "0::", ":::", "0::/a\n\n"])
def test_where_nothing_is_said_nothing_is_limited(own, tmp_path, line):
    put(tmp_path / "a", memory_max="none", memory_current="?")
    assert memory_limits(own(line), tmp_path) == ()
    assert memory_limits(tmp_path / "missing", tmp_path / "missing") == ()


def test_planner_and_meter_see_the_limit(monkeypatch):
    for module in (machine, device):
        monkeypatch.setattr(module, "memory_limits", lambda: (Limit(limit_bytes=1000, used_bytes=300),))
    assert machine.free_host_bytes() == 700
    assert device.total_bytes(torch.device("cpu")) == 1000
    for module in (machine, device):
        monkeypatch.setattr(module, "memory_limits", lambda: ())
    assert device.total_bytes(torch.device("cpu")) == psutil.virtual_memory().total
