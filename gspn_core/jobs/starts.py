"""The pictures that runs start from: each once, under its reference, for as long as a run needs it.

A picture that no run has taken up yet waits a day for one. Nothing of the file that it came in is kept but
its pixels: no name, no place, no camera.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from PIL.Image import Image

from gspn_core.errors import BadSetting, GspnError
from gspn_core.jobs.files import make_folder, replacing, write_failure
from gspn_core.jobs.images import read_picture, write_proxy
from gspn_core.jobs.locks import OrderedLock
from gspn_core.pictures import read_file, reference_of, shrunk
from gspn_core.settings import start_size

UNUSED_SECONDS = 24 * 3600
# So that nobody fills the disk with pictures of which nothing is made.
MOST_UNUSED = 50


class Starts:
    """Starting pictures in one folder. used: returns the references that runs name."""

    def __init__(self, folder: Path, used: Callable[[], Collection[str]]) -> None:
        self.folder = folder
        self._used = used
        self._lock = OrderedLock("starts")

    def take(self, path: Path, name: str) -> str:
        """Keep the picture in a file and return its reference; name is for messages.

        Raises BadSetting for what is no picture that can be started from, GspnError for a full disk.
        """
        # One at a time: a picture takes some hundred MB while it is read.
        with self._lock:
            return self._put(read_file(path, name))

    def put(self, image: Image) -> str:
        """Keep a picture of this studio's own and return its reference; raise GspnError for a full disk."""
        with self._lock:
            return self._put(shrunk(image.convert("RGB")))

    def check(self, reference: str) -> None:
        """Raise BadSetting where the picture of a reference is not kept here; it is wanted from now on."""
        try:
            os.utime(self._file(reference, "png"))
        except OSError:
            raise _gone() from None

    def picture(self, reference: str) -> Image:
        """Return a picture; raise BadSetting where it is not here or no longer what its reference says."""
        image = read_picture(self._file(reference, "png"))
        if image is None or reference_of(image) != reference:
            raise _gone()
        return image

    def proxy(self, reference: str) -> Path | None:
        """Return the small JPEG of a picture, None where it is not here; raise BadSetting."""
        path = self._file(reference, "jpg")
        return path if path.is_file() and self._file(reference, "png").is_file() else None

    def sweep(self) -> None:
        """Remove what no run names and what has waited too long for one, and of the others the oldest."""
        used = self._used()
        waiting = []
        for path in self.folder.glob("*.png"):
            if path.stem not in used:
                with suppress(OSError):
                    waiting.append((path.stat().st_mtime, path))
        waiting.sort()
        since = time.time() - UNUSED_SECONDS
        for place, (moment, path) in enumerate(waiting):
            if moment < since or place < len(waiting) - MOST_UNUSED:
                for file in (path, path.with_suffix(".jpg")):
                    with suppress(OSError):
                        file.unlink()

    def _put(self, image: Image) -> str:
        reference = reference_of(image)
        path = self._file(reference, "png")
        try:
            make_folder(self.folder)
            if not self.proxy(reference):
                write_proxy(path.with_suffix(".jpg"), image)
                with replacing(path) as stream:
                    image.save(stream, "PNG", compress_level=1)
            os.utime(path)
        except OSError as error:
            raise GspnError(write_failure("The picture", error)) from error
        self.sweep()
        return reference

    def _file(self, reference: str, ending: str) -> Path:
        # What is no reference could lead elsewhere.
        start_size(reference)
        return self.folder / f"{reference}.{ending}"


def _gone() -> BadSetting:
    return BadSetting("start", "The picture that it starts from is not kept here; hand it in again.")
