"""Pairs of renders of one view: a crop, and the same crop at a quarter of the side."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gspn_core.errors import GspnError
from gspn_core.files import replacing
from gspn_core.training.data import in_processes
from gspn_core.world.render.draw import render
from gspn_core.world.scene import sample_scene

SCALE = 4
CROP_PX = 256
# Sides in px of the whole views that crops are of, and the share of each.
VIEWS, VIEW_SHARES = (1024, 2048), (0.7, 0.3)
# Pairs of a file.
CHUNK = 16


class Pairs(NamedTuple):
    """uint8 arrays: small (N, CROP_PX / 4, CROP_PX / 4, 3) and large (N, CROP_PX, CROP_PX, 3)."""

    small: np.ndarray
    large: np.ndarray


def draw_pair(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Render the small and the large crop of a number, the same on every call."""
    rng = np.random.default_rng((seed, number, 9))
    scene = sample_scene(rng)
    view = int(rng.choice(VIEWS, p=VIEW_SHARES))
    top, left = (SCALE * int(place) for place in rng.integers((view - CROP_PX) // SCALE + 1, size=2))
    region = (top / view, left / view, (top + CROP_PX) / view, (left + CROP_PX) / view)
    small, large = (render(scene, height=px, width=px, region=region) for px in (CROP_PX // SCALE, CROP_PX))
    return small, large


def draw_pairs(folder: Path, *, count: int, seed: int, processes: int) -> None:
    """Render pairs into `folder`, a file per CHUNK; files that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = [start for start in range(0, count, CHUNK) if not _path(folder, start).exists()]
    in_processes(partial(_draw_chunk, folder, seed), starts, processes)


def read_pairs(folder: Path) -> Pairs:
    """Return all pairs of a folder.

    Raises:
        GspnError: there are none.
    """
    chunks = [np.load(path) for path in sorted(folder.glob("[0-9]*.npz"))]
    if not chunks:
        raise GspnError(
            f"{folder} holds no pairs; render them with `python -m gspn_core.training.superres pairs`."
        )
    return Pairs(*(np.concatenate([chunk[name] for chunk in chunks]) for name in Pairs._fields))


def _draw_chunk(folder: Path, seed: int, start: int) -> None:
    drawn = [draw_pair(number, seed) for number in range(start, start + CHUNK)]
    small, large = (np.stack(pictures) for pictures in zip(*drawn, strict=True))
    with replacing(_path(folder, start)) as stream:
        np.savez(stream, small=small, large=large)


def _path(folder: Path, start: int) -> Path:
    return folder / f"{start:06d}.npz"
