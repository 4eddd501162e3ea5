"""The training data: views of the world, rendered once into a cache on disk, with a new caption each time.

Only pictures are stored; scenes and captions are drawn from (seed, number) again, so captions vary by epoch.
"""

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from gspn_core.errors import GspnError
from gspn_core.files import write_json
from gspn_core.metrics.samples import VIEW_SCALES, to_sample
from gspn_core.world.captions import caption
from gspn_core.world.render.draw import render, thing_box
from gspn_core.world.scene import Scene, sample_scene

# How many pictures are of each scale of `VIEW_SCALES`.
VIEW_SHARES = (0.65, 0.18, 0.12, 0.05)
# The first numbers are never trained on.
HELD_OUT = 96
CHUNK = 16
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class View:
    """One training picture: a base_px square of a view_px square view, at (top, left) px."""

    scene: Scene
    base_px: int
    view_px: int
    top: int
    left: int

    def draw(self) -> np.ndarray:
        """Render the picture: uint8 (base_px, base_px, 3)."""
        size, full = self.base_px, self.view_px
        region = (self.top / full, self.left / full, (self.top + size) / full, (self.left + size) / full)
        return render(self.scene, height=size, width=size, region=region)

    def thing_mask(self, side: int) -> np.ndarray:
        """Return a bool mask (side, side) of the cells that the scene's object covers."""
        mask, box = np.zeros((side, side), dtype=bool), thing_box(self.scene)
        if box is not None:
            cell = self.base_px / self.view_px / side
            corner = np.array([self.top, self.left, self.top, self.left]) / self.view_px
            top, left, bottom, right = ((np.array(box) - corner) / cell).clip(0, side)
            mask[math.floor(top) : math.ceil(bottom), math.floor(left) : math.ceil(right)] = True
        return mask

    def time_ids(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Return SDXL's micro-conditioning: original size, crop offset, target size, in px, height first.

        Half of the crops have the offset (0, 0), because a cascade draws a large view in one piece; one in
        four has its view's size as the target size, as callers may set it.
        """
        hidden = rng.random() < 0.5
        target = self.view_px if rng.random() < 0.25 else self.base_px
        top, left = (0, 0) if hidden else (self.top, self.left)
        return (self.view_px, self.view_px, top, left, target, target)


def view_of(number: int, *, seed: int, base_px: int) -> View:
    """Return the view of a number, the same on every call."""
    rng = np.random.default_rng((seed, number))
    scene = sample_scene(rng)
    view_px = base_px * int(rng.choice(VIEW_SCALES, p=VIEW_SHARES))
    top, left = (int(offset) for offset in rng.integers(0, view_px - base_px + 1, size=2))
    return View(scene=scene, base_px=base_px, view_px=view_px, top=top, left=left)


def caption_of(number: int, *, seed: int, rng: np.random.Generator) -> str:
    """Return a new caption of the scene of a number."""
    return caption(sample_scene(np.random.default_rng((seed, number))), rng)


class RenderCache:
    """Pictures on disk, rendered in the background by other processes.

    images: uint8 (count, base_px, base_px, 3), a memory map; `ready()` lists the numbers already drawn.
    """

    def __init__(self, folder: Path) -> None:
        """Open the cache in folder; raise GspnError if there is none."""
        if not (folder / "cache.json").is_file():
            raise no_renders(folder)
        info = json.loads((folder / "cache.json").read_text())
        self.folder = folder
        self.count, self.base_px, self.seed = info["count"], info["base_px"], info["seed"]
        self.images = np.load(folder / "images.npy", mmap_mode="r+")
        self._done = np.load(folder / "done.npy", mmap_mode="r+")

    @classmethod
    def create(cls, folder: Path, *, count: int, base_px: int, seed: int) -> "RenderCache":
        """Open the cache in folder, creating an empty one if needed."""
        info = {"count": count, "base_px": base_px, "seed": seed}
        if not (folder / "cache.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            shape = (count, base_px, base_px, 3)
            np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
            np.lib.format.open_memmap(folder / "done.npy", mode="w+", dtype=np.uint8, shape=(count,))
            write_json(folder / "cache.json", info)
        cache = cls(folder)
        found = {"count": cache.count, "base_px": cache.base_px, "seed": cache.seed}
        if found != info:
            raise ValueError(f"the cache in {folder} holds {found}, asked for {info}; name another folder.")
        return cache

    def ready(self) -> np.ndarray:
        """Return the numbers of the pictures drawn so far, ascending."""
        return np.flatnonzero(self._done)

    def train_numbers(self) -> np.ndarray:
        """Return the drawn numbers that may be trained on."""
        ready = self.ready()
        return ready[ready >= held_out(self.count)]

    def held_out_numbers(self) -> np.ndarray:
        """Return the drawn numbers that are held out for measuring."""
        ready = self.ready()
        return ready[ready < held_out(self.count)]

    def fill(self, *, processes: int) -> None:
        """Draw missing pictures, in order, in this many processes."""
        missing = np.flatnonzero(self._done == 0)
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        in_processes(partial(_draw_chunk, self.folder), chunks, processes)

    def draw(self, numbers: np.ndarray) -> None:
        """Draw these numbers into the cache."""
        for number in numbers:
            self.images[number] = view_of(int(number), seed=self.seed, base_px=self.base_px).draw()
            self._done[number] = 1


def in_processes(draw: Callable[[Item], None], items: Sequence[Item], processes: int) -> None:
    """Call `draw` on each item in this many processes, here where it is one."""
    if processes < 2:
        for item in items:
            draw(item)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for _ in pool.map(draw, items):
            pass


def no_renders(folder: Path) -> GspnError:
    """Return the error for a folder without pictures."""
    return GspnError(f"{folder} holds no renders; draw them with `python -m gspn_core.training.train data`.")


def held_out(count: int) -> int:
    """Return how many of the first numbers of a cache are held out for measuring."""
    return min(HELD_OUT, count // 4)


def _draw_chunk(folder: Path, numbers: np.ndarray) -> None:
    RenderCache(folder).draw(numbers)


def crops(cache: RenderCache, numbers: np.ndarray, *, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut one random crop of each picture, some mirrored: float32 (B, 3, size, size) in [-1, 1]."""
    out = np.empty((len(numbers), size, size, 3), dtype=np.uint8)
    for place, number in enumerate(numbers):
        top, left = rng.integers(0, cache.base_px - size + 1, size=2)
        picture = cache.images[number, top : top + size, left : left + size]
        out[place] = picture[:, ::-1] if rng.random() < 0.5 else picture
    return to_sample(out)
