"""A control group of a drill's own with a memory limit, where this machine lets one be made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# Of version 2 and of version 1: the files of the limit, of no limit, and of what is used.
_FILES = {
    2: ("memory.max", "max", "memory.current"),
    1: ("memory.limit_in_bytes", "-1", "memory.usage_in_bytes"),
}


class Group:
    """A group at a folder, of one version of control groups."""

    def __init__(self, folder: Path, version: int) -> None:
        self.folder = folder
        self._limit, self._none, self._used = _FILES[version]

    def join(self) -> None:
        """Move this process into the group."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def limit(self, limit_bytes: int | None) -> None:
        """Set the group's limit; None for none."""
        (self.folder / self._limit).write_text(self._none if limit_bytes is None else str(limit_bytes))

    @property
    def used_bytes(self) -> int:
        """Return what the group uses without the pages of files, which the kernel takes back."""
        lines = (self.folder / "memory.stat").read_text().splitlines()
        figures = dict(line.split(" ", 1) for line in lines)
        files = sum(int(figures.get(name, 0)) for name in ("inactive_file", "active_file"))
        return max(0, int((self.folder / self._used).read_text()) - files)


@contextmanager
def memory_group() -> Iterator[Group | None]:
    """Yield a new group below this process's own, None where none can be made; it is removed at the end."""
    group = _made()
    try:
        yield group
    finally:
        if group is not None:
            # It stays while a process is in it.
            with suppress(OSError):
                group.folder.rmdir()


def _made() -> Group | None:
    for version, parent in _parents():
        group = Group(parent / f"gspn-drill-{os.getpid()}", version)
        try:
            group.folder.mkdir()
        except OSError:
            continue
        try:
            group.limit(None)
            return group
        except OSError:
            # No controller of memory is handed down to it.
            group.folder.rmdir()
    return None


def _parents() -> Iterator[tuple[int, Path]]:
    """Yield the folders of this process's groups that may have a controller of memory, by version."""
    try:
        lines = _OWN.read_text("ascii").splitlines()
    except OSError:
        return
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if controllers == "":
            yield 2, MOUNT / path.lstrip("/")
        elif "memory" in controllers.split(","):
            yield 1, MOUNT / "memory" / path.lstrip("/")
