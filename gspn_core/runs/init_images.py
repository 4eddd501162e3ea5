"""Init images, and those that controls read: each stored once, for as long as a run needs it.

A picture that no run uses yet is kept for a day, by a monotonic clock. Only the pixels of the file are kept:
no name, no location, no camera.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from gspn_core.errors import BadSetting, GspnError
from gspn_core.files import make_folder, replacing, write_failure
from gspn_core.images.load import read_file, reference_of, shrunk
from gspn_core.images.png import read_picture, write_proxy
from gspn_core.runs.locks import OrderedLock
from gspn_core.setting_values import start_size

UNUSED_SECONDS = 24 * 3600
# Limits on unused pictures, so that no visitor fills the disk or displaces those of others.
MOST_UNUSED, MOST_UNUSED_EACH = 50, 20


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """When a picture was last requested, by a monotonic clock, and by whom."""

    moment: float
    owner: str = ""


class InitImages:
    """Init images in one folder. used: returns the references that runs use; clock: in seconds.

    An owner (see `gspn_core.runs.archive`) is remembered until the server ends; "" stands for none.
    """

    def __init__(
        self, folder: Path, used: Callable[[], Collection[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self._used = used
        self._clock = clock
        # One at a time: reading a picture takes some hundred MB. No other lock is taken meanwhile.
        self._reading = threading.Lock()
        self._lock = OrderedLock("starts")
        # Least recently requested first.
        self._wanted: dict[str, _Wanted] = {}

    def take(self, path: Path, name: str, owner: str = "") -> str:
        """Store the picture in a file and return its reference; name is for messages.

        Raises BadSetting for a file that is not a usable image, GspnError for a full disk.
        """
        with self._reading:
            image = read_file(path, name)
        with self._lock:
            return self._put(image, owner)

    def put(self, image: Image.Image, owner: str = "") -> str:
        """Store a picture made here and return its reference; raise GspnError for a full disk."""
        with self._lock:
            return self._put(shrunk(image.convert("RGB")), owner)

    def check(self, reference: str, field: str = "start") -> None:
        """Raise BadSetting if there is no picture of that reference; else mark it as requested now.

        field: the setting that names it.
        """
        with self._lock:
            try:
                os.utime(self._file(reference, "png"))
            except OSError:
                raise _gone(field) from None
            self._want(reference)

    def picture(self, reference: str, field: str = "start") -> Image.Image:
        """Return a picture; raise BadSetting if it is missing or does not match its reference."""
        image = read_picture(self._file(reference, "png"))
        if image is None or reference_of(image) != reference:
            raise _gone(field)
        return image

    def proxy(self, reference: str) -> Path | None:
        """Return the small JPEG of a picture, None if it is missing; raise BadSetting."""
        path = self._file(reference, "jpg")
        return path if path.is_file() and self._file(reference, "png").is_file() else None

    def sweep(self) -> None:
        """Remove unused pictures that have waited too long, and the oldest unused ones beyond the limits.

        An owner with more than MOST_UNUSED_EACH loses their oldest; if all together are too many, so does
        the owner with the most.
        """
        with self._lock:
            waiting = self._waiting()
            since = self._clock() - UNUSED_SECONDS
            gone = [reference for reference, wanted in waiting.items() if wanted.moment < since]
            kept = {reference: wanted for reference, wanted in waiting.items() if reference not in gone}
            gone += _beyond_shares(kept)
            self._remove(gone)

    def drop(self, references: Collection[str]) -> None:
        """Remove those of the pictures that no run uses any more."""
        with self._lock:
            self._remove(set(references) - set(self._used()))

    def _waiting(self) -> dict[str, _Wanted]:
        """Return the unused pictures, least recently requested first."""
        used = self._used()
        found = {}
        for path in self.folder.glob("*.png"):
            with suppress(OSError):
                found[path.stem] = path.stat().st_mtime
        # Pictures from before this server count as requested at its start, oldest file first.
        for reference in sorted(found.keys() - self._wanted.keys(), key=found.get):
            self._wanted[reference] = _Wanted(moment=self._clock())
        self._wanted = {r: wanted for r, wanted in self._wanted.items() if r in found}
        return {r: wanted for r, wanted in self._wanted.items() if r not in used}

    def _want(self, reference: str, owner: str | None = None) -> None:
        before = self._wanted.pop(reference, _Wanted(moment=0.0))
        owner = before.owner if owner is None else owner
        self._wanted[reference] = _Wanted(moment=self._clock(), owner=owner)

    def _remove(self, references: Collection[str]) -> None:
        for reference in references:
            self._wanted.pop(reference, None)
            for ending in ("png", "jpg"):
                with suppress(OSError):
                    (self.folder / f"{reference}.{ending}").unlink()

    def _put(self, image: Image.Image, owner: str) -> str:
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
        self._want(reference, owner)
        self.sweep()
        return reference

    def _file(self, reference: str, ending: str) -> Path:
        # Anything but a reference could be a path outside of the folder.
        start_size(reference)
        return self.folder / f"{reference}.{ending}"


def _beyond_shares(waiting: Mapping[str, _Wanted]) -> list[str]:
    """Return the pictures beyond the limits per owner and for all, least recently requested first."""
    by_owner: dict[str, list[str]] = {}
    for reference, wanted in waiting.items():
        by_owner.setdefault(wanted.owner, []).append(reference)
    gone = []
    for owner, references in by_owner.items():
        # "" stands for any number of visitors.
        most = MOST_UNUSED_EACH if owner else MOST_UNUSED
        gone += references[: max(0, len(references) - most)]
        del references[: max(0, len(references) - most)]
    for _ in range(sum(map(len, by_owner.values())) - MOST_UNUSED):
        gone.append(max(by_owner.values(), key=len).pop(0))
    return gone


def _gone(field: str) -> BadSetting:
    use = "it starts from" if field == "start" else "its control reads"
    return BadSetting(field, f"The picture that {use} is not kept here; hand it in again.")
