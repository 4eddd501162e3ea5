"""Writing a file so that a reader never sees half of it."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gspn_core.errors import GspnError

_GONE = ".gone-"
_log = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of `path` when the block ends well; otherwise nothing is left.

    Raises OSError where the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as stream:
            yield stream
        os.replace(temporary, path)  # noqa: PTH105 - the name that says what it does
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_folder(folder: Path) -> None:
    """Make a folder if it is not there; a file in its place is set aside. Raises OSError on failure."""
    if folder.exists() and not folder.is_dir():
        aside = folder.with_name(f"{folder.name}.set-aside-{secrets.token_hex(4)}")
        folder.rename(aside)
        _log.warning("%s is not a folder; it is kept as %s.", folder, aside.name)
    folder.mkdir(parents=True, exist_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, which is gone at once and as a whole; what cannot be removed then is left hidden.

    What is left goes with `remove_leftovers`.
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
    """Return how many bytes a file holds, or all files in a folder; 0 where there is nothing."""
    size = 0
    with suppress(OSError):
        for found in path.rglob("*") if path.is_dir() else (path,):
            with suppress(OSError):
                size += found.lstat().st_size if not found.is_dir() else 0
    return size


class FolderClaim:
    """A folder's lock file, held by one process at a time; it goes with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".in-use"
        self._file: BinaryIO | None = None

    def take(self) -> None:
        """Hold the folder, made if it is not there; raise GspnError where another process holds it."""
        try:
            import fcntl
        except ImportError:
            # Not on this system; the folder's owner sees to it.
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise GspnError(
                f"{self._path.parent} is in use by another server; stop that one or name another folder."
            ) from None
        except OSError as error:
            raise GspnError(write_failure(str(self._path.parent), error)) from None

    def release(self) -> None:
        """Let the folder go; without a claim this does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None


def write_failure(name: str, error: OSError) -> str:
    """Return the sentence for a file that could not be written."""
    reason = error.strerror or type(error).__name__
    return f"{name} could not be written ({reason}); free disk space or check the folder, then run again."
