"""Two finished stages compared: figures and a map of where they differ, computed once and stored.

Both are stored in the folder of the first stage's job and are deleted with it.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gspn_core.errors import Busy, GspnError
from gspn_core.files import replacing, write_failure
from gspn_core.images.png import read_picture
from gspn_core.runs.records import DAMAGED, check_record, read_json
from gspn_core.runs.run import StageView

# To be raised when other figures are stored under the same names.
VERSION = 2
# Larger pictures are compared at this size, which is enough to see a difference.
MOST_PX = 2048
_MOST_WAITING = 8


@dataclass(frozen=True, kw_only=True)
class PairFigures:
    """The difference of two pictures, compared at height × width px: the smaller's size or less.

    psnr: in dB, None for equal pictures. heat_path: a PNG of the differences; its lightest colour is a
    difference of heat_top of 255 levels.
    """

    height: int
    width: int
    psnr: float | None
    ssim: float
    heat_path: str
    heat_top: float


class Pairs:
    """Compares pairs of stages, one pair at a time."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)

    def figures(self, one: StageView, other: StageView) -> PairFigures:
        """Return the figures of two stages with finished pictures.

        Raises GspnError if one is unfinished or gone, if their shapes differ or the disk is full; Busy if
        many comparisons wait already.
        """
        paths = [_picture_path(stage) for stage in (one, other)]
        name = hashlib.sha256(f"{VERSION} {one.digest} {other.digest}".encode()).hexdigest()[:32]
        kept = paths[0].parent / f"pair-{name}.json"
        found = _read(kept)
        if found is not None:
            return found
        if not self._waiting.acquire(blocking=False):
            raise Busy("Other comparisons are being measured; try again in a moment.")
        try:
            with self._one_at_a_time:
                return _read(kept) or _measure(paths[0], paths[1], kept, (one.digest, other.digest))
        finally:
            self._waiting.release()

    def forget(self, folder: Path, digests: Collection[str]) -> None:
        """Remove the comparisons with removed pictures from the folders of other jobs."""
        for kept in folder.glob("*/pair-*.json") if digests else ():
            with suppress(OSError, *DAMAGED):
                if set(read_json(kept)["digests"]) & set(digests):
                    kept.with_suffix(".png").unlink(missing_ok=True)
                    kept.unlink()


def _measure(one: Path, other: Path, kept: Path, digests: tuple[str, str]) -> PairFigures:
    # Imported here, so that the queue and the store do not load numpy.
    from gspn_core.metrics.arrays import same_size
    from gspn_core.metrics.fidelity import difference_map, psnr, ssim

    pictures = [read_picture(path) for path in (one, other)]
    if None in pictures:
        raise GspnError("A picture of this comparison is gone or damaged; run its stage again.")
    a, b = same_size(*pictures, most_px=MOST_PX)
    heat, top = difference_map(a, b)
    decibels = psnr(a, b)
    figures = PairFigures(
        height=a.height,
        width=a.width,
        psnr=None if math.isinf(decibels) else decibels,
        ssim=ssim(a, b),
        heat_path=kept.with_suffix(".png").name,
        heat_top=top,
    )
    try:
        with replacing(kept.with_suffix(".png")) as stream:
            heat.save(stream, "PNG", compress_level=1)
        with replacing(kept) as stream:
            stream.write(json.dumps({**asdict(figures), "digests": digests}).encode())
    except OSError as error:
        raise GspnError(write_failure("The comparison", error)) from error
    return _located(figures, kept)


def _picture_path(stage: StageView) -> Path:
    if not stage.png_path or not stage.digest:
        size = f"{stage.width}×{stage.height}"
        raise GspnError(f"The picture of {size} is not written yet; compare it in a moment.")
    return Path(stage.png_path)


def _read(kept: Path) -> PairFigures | None:
    try:
        values = read_json(kept)
        del values["digests"]
        figures = _located(PairFigures(**values), kept)
        check_record(figures)
    except (OSError, *DAMAGED):
        return None
    return figures if Path(figures.heat_path).is_file() else None


def _located(figures: PairFigures, kept: Path) -> PairFigures:
    return PairFigures(**{**asdict(figures), "heat_path": str(kept.parent / Path(figures.heat_path).name)})
