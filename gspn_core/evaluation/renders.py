"""Reference renders, made once and cached on disk under a fingerprint of the world.

They show the true picture of each prompt, and other scenes to compare sets of pictures with.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from gspn_core.evaluation.progress import OnProgress
from gspn_core.evaluation.prompts import Prompt, reference_scene
from gspn_core.files import replacing
from gspn_core.training.data import View
from gspn_core.world.render.draw import render
from gspn_core.world.scene import Scene, sample_scene

_FINGERPRINT_SCENES, _FINGERPRINT_PX = 24, 32
_CHUNK = 32


class Renders:
    """The true pictures of the prompts, and pictures of other scenes to compare sets with."""

    def __init__(
        self, folder: Path, *, crop_px: int, processes: int, seed: int, on_progress: OnProgress
    ) -> None:
        self.folder = folder / f"renders-{world_fingerprint()}-{seed}"
        self.crop_px, self.processes, self.seed, self.on_progress = crop_px, processes, seed, on_progress

    def draw_views(self, prompts: Sequence[Prompt], px: int) -> None:
        """Render the prompts' whole scenes at `px`, unless they are cached."""
        jobs = [(prompt.scene, px, self._view(prompt, px)) for prompt in prompts]
        self._work(f"renders {px}", jobs, _save_view)

    def view(self, prompt: Prompt, px: int) -> Image.Image:
        """Read the whole scene of a prompt at `px`."""
        with Image.open(self._view(prompt, px)) as image:
            return image.convert("RGB")

    def draw_references(self, count: int, px: int) -> None:
        """Render one crop of a `px` view of each of `count` scenes that belong to no prompt."""
        starts = range(0, count, _CHUNK)
        jobs = [(range(a, min(a + _CHUNK, count)), px, self._chunk(a, count, px)) for a in starts]
        save = partial(_save_references, seed=self.seed, crop_px=self.crop_px)
        self._work(f"reference renders out of {px}, {_CHUNK} each", jobs, save)

    def references(self, count: int, px: int) -> Iterator[np.ndarray]:
        """Yield the reference crops, uint8 (crop_px, crop_px, 3)."""
        for start in range(0, count, _CHUNK):
            yield from np.load(self._chunk(start, count, px))

    def _view(self, prompt: Prompt, px: int) -> Path:
        return self.folder / f"views-{px}" / f"{prompt.number:05d}.png"

    def _chunk(self, start: int, count: int, px: int) -> Path:
        return self.folder / f"references-{px}" / f"{start:05d}-{min(start + _CHUNK, count):05d}.npy"

    def _work(self, name: str, jobs: Sequence[tuple], save: Callable[[tuple], None]) -> None:
        missing = [job for job in jobs if not job[-1].is_file()]
        self.on_progress(name, len(jobs) - len(missing), len(jobs))
        for _, _, path in missing[:1]:
            path.parent.mkdir(parents=True, exist_ok=True)
        if self.processes < 2 or len(missing) < 2:
            for done, job in enumerate(missing, start=1):
                save(job)
                self.on_progress(name, len(jobs) - len(missing) + done, len(jobs))
            return
        with ProcessPoolExecutor(self.processes, mp_context=get_context("spawn")) as pool:
            for done, _ in enumerate(pool.map(save, missing), start=1):
                self.on_progress(name, len(jobs) - len(missing) + done, len(jobs))


def save_image(image: Image.Image, path: Path) -> None:
    """Write a PNG atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        image.save(stream, format="PNG", compress_level=1)


def world_fingerprint() -> str:
    """Return a digest of the world's look: a hash of some of its scenes, rendered small."""
    digest = hashlib.sha256()
    for number in range(_FINGERPRINT_SCENES):
        scene = sample_scene(np.random.default_rng(number))
        digest.update(repr(scene).encode())
        digest.update(render(scene, height=_FINGERPRINT_PX, width=_FINGERPRINT_PX).tobytes())
    return digest.hexdigest()[:12]


def _save_view(job: tuple[Scene, int, Path]) -> None:
    scene, px, path = job
    save_image(Image.fromarray(render(scene, height=px, width=px)), path)


def _save_references(job: tuple[range, int, Path], *, seed: int, crop_px: int) -> None:
    numbers, px, path = job
    crops = []
    for number in numbers:
        top, left = np.random.default_rng((seed, number, px)).integers(0, px - crop_px + 1, size=2)
        scene = reference_scene(number, seed=seed)
        view = View(scene=scene, base_px=crop_px, view_px=px, top=int(top), left=int(left))
        crops.append(view.draw())
    with replacing(path) as stream:
        np.save(stream, np.stack(crops))
