"""requirements.lock has every requirement as it is pinned, and a hash for every file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# The Pythons and platforms for which both files are asked.
PLACES = [
    {"python_version": version, "python_full_version": f"{version}.4", "sys_platform": platform}
    for version in ("3.10", "3.11", "3.12", "3.13")
    for platform in ("linux", "darwin", "win32")
]


def required(text: str) -> list[Requirement]:
    """Return the requirements of a file without its comments, hashes and continued lines."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [Requirement(line.rstrip("\\")) for line in lines if line and not line.startswith("--")]


def versions(requirements: list[Requirement], place: dict[str, str]) -> dict[str, set[str]]:
    """Return the versions that each package has in one place."""
    found: dict[str, set[str]] = {}
    for one in requirements:
        if one.marker is None or one.marker.evaluate(place):
            found.setdefault(one.name.lower(), set()).add(str(one.specifier))
    return found


LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: "-".join(place.values()))
def test_what_is_required_is_locked_at_its_version(place):
    wanted = versions(required((ROOT / "requirements.txt").read_text(encoding="utf-8")), place)
    locked = versions(required(LOCK), place)
    assert len(wanted) >= 10
    assert {name: locked.get(name) for name in wanted} == wanted
    assert [name for name, found in locked.items() if len(found) > 1] == []


def test_every_package_has_a_hash_and_comes_from_no_address():
    entries = re.split(r"\n(?=[a-z0-9])", LOCK.partition("\n")[2])
    assert len(entries) > 80
    for entry in entries:
        head, *hashes = (line.rstrip(" \\").strip() for line in entry.strip().splitlines())
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[^\s;]+( ; .+)?", head), head
        assert hashes, head
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), head
