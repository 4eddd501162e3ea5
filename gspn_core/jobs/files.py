"""Writing a file so that a reader never sees half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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


def write_failure(name: str, error: OSError) -> str:
    """Return the sentence for a file that could not be written."""
    reason = error.strerror or type(error).__name__
    return f"{name} could not be written ({reason}); free disk space or check the folder, then run again."
