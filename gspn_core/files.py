"""Atomic writes of files and folders, and a lock file."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gspn_core.errors import GspnError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_GONE = ".gone-"
_log = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces `path` when the block succeeds; otherwise nothing is left.

    Raises OSError if the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as stream:
            yield stream
        os.replace(temporary, path)  # noqa: PTH105 - the name that says what it does
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 through `replacing`, creating the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """Write a value as one JSON text that ends with a line break, as `write_text` does.

    Raises:
        TypeError: the value cannot be written as JSON; the file at `path` is unchanged.
    """
    write_text(path, json.dumps(value, indent=indent) + "\n")


def make_folder(folder: Path) -> None:
    """Create a folder if needed; a file in its place is set aside. Raises OSError on failure."""
    if folder.exists() and not folder.is_dir():
        aside = folder.with_name(f"{folder.name}.set-aside-{secrets.token_hex(4)}")
        folder.rename(aside)
        _log.warning("%s is not a folder; it is kept as %s.", folder, aside.name)
    folder.mkdir(parents=True, exist_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder atomically; files that cannot be removed are left in a hidden folder.

    `remove_leftovers` removes those later.
    """
    hidden = folder.with_name(f"{_GONE}{secrets.token_hex(8)}")
    with suppress(OSError):
        folder.rename(hidden)
        folder = hidden
    shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Remove what `remove_folder` could not remove from this parent."""
    for hidden in parent.glob(f"{_GONE}*"):
        shutil.rmtree(hidden, ignore_errors=True)


def weight_of(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder; 0 if there is nothing."""
    size = 0
    with suppress(OSError):
        for found in path.rglob("*") if path.is_dir() else (path,):
            with suppress(OSError):
                size += found.lstat().st_size if not found.is_dir() else 0
    return size


class FolderClaim:
    """A folder's lock file, held by one process at a time and released when that ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".in-use"
        self._lock: BaseFileLock | None = None

    def take(self) -> None:
        """Claim the folder, creating it if needed.

        Raises:
            GspnError: another process holds the folder, or it cannot be written.
        """
        # Only a server claims a folder; the command line starts without it.
        import filelock

        # One thread may take the claim and another release it.
        lock = filelock.FileLock(self._path, blocking=False, thread_local=False)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout:
            raise GspnError(
                f"{self._path.parent} is in use by another server; stop that one or name another folder."
            ) from None
        except OSError as error:
            raise GspnError(write_failure(str(self._path.parent), error)) from None
        self._lock = lock

    def release(self) -> None:
        """Release the claim; without one this does nothing."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def write_failure(name: str, error: OSError) -> str:
    """Return the message for a file that could not be written."""
    reason = error.strerror or type(error).__name__
    return f"{name} could not be written ({reason}); free disk space or check the folder, then run again."
