"""Memory limits of this process by Linux control groups, version 1 or 2.

File pages that were not used recently count as free, since the kernel reclaims them first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_OWN = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A memory limit in bytes, and what its group uses that cannot be reclaimed at once."""

    limit_bytes: int
    used_bytes: int

    @property
    def free_bytes(self) -> int:
        """Return how many bytes are left under the limit."""
        return max(0, self.limit_bytes - self.used_bytes)


def memory_limits(own: Path = _OWN, mount: Path = _MOUNT) -> tuple[Limit, ...]:
    """Return the memory limits of this process's groups and of those above them; () if there are none.

    Args:
        own: the file that names the process's groups, one "number:controllers:path" per line.
        mount: the folder of the groups.
    """
    try:
        lines = own.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        lines = []
    # Without a line, or if the path is from outside of this container, the root's limits count.
    lines += ["0::/", "0:memory:/"]
    folders = dict.fromkeys(folder for line in lines for folder in _way_up(line, mount))
    return tuple(limit for folder in folders if (limit := _limit_of(folder)) is not None)


def _way_up(line: str, mount: Path) -> Iterator[Path]:
    """Yield the folder of a line's group and those above it."""
    _number, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    if controllers == "":
        roots = (mount, mount / "unified")
    elif "memory" in controllers.split(","):
        roots = (mount / "memory",)
    else:
        return
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    for root in roots:
        for count in range(len(parts), -1, -1):
            yield root.joinpath(*parts[:count])


def _limit_of(folder: Path) -> Limit | None:
    for limit_name, used_name, cache_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit = int((folder / limit_name).read_text(encoding="ascii"))
            used = int((folder / used_name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            # No such file, or "max": no limit of this kind.
            continue
        return Limit(limit_bytes=limit, used_bytes=max(0, used - _statistic(folder, cache_name)))
    return None


def _statistic(folder: Path, name: str) -> int:
    """Return a figure of a group's memory.stat; 0 where it has none."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        return int(dict(line.split(" ", 1) for line in lines).get(name, 0))
    except (OSError, ValueError):
        return 0
