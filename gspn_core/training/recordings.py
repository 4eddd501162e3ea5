"""Recorded trajectories of the teacher: the guided way from noise to a picture, for a few-step student.

Each is kept at every grid point in the scale in which latents have unit variance. A jump of the student goes
over JUMP grid points at once, a quarter of the schedule.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import SchedulerMixin

from gspn_core.cascade.schedule import make_scheduler
from gspn_core.errors import GspnError
from gspn_core.training.checkpoint import save_checkpoint
from gspn_core.training.nets import LATENT_CHANNELS, LATENT_FACTOR, build_scheduler
from gspn_core.training.trajectories import Moment
from gspn_core.world.captions import caption
from gspn_core.world.scene import sample_scene

# Steps of the teacher from pure noise to a picture, in DPM-Solver++(2M), trailing timesteps.
GRID = 16
JUMP = GRID // 4
GUIDANCE = 3.0
EMPTY_SHARE = 0.05
# Height and width of the pictures in multiples of the training side, and the share of each.
SHAPES, SHAPE_SHARES = ((1.0, 1.0), (1.0, 1.5), (1.5, 1.0)), (0.8, 0.1, 0.1)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A batch of trajectories of one shape.

    states: float16 (B, GRID + 1, 4, h, w), unit variance, noise first; captions: one each;
    time_ids: (6,), SDXL's micro-conditioning of all.
    """

    states: torch.Tensor
    captions: tuple[str, ...]
    time_ids: torch.Tensor


class Levels(NamedTuple):
    """The grid of the teacher: timesteps (GRID + 1,), the last of which no model sees, and α, σ there.

    The last grid point is the picture: α = 1, σ = 0.
    """

    timesteps: torch.Tensor
    alphas: torch.Tensor
    sigmas: torch.Tensor

    @property
    def ratio(self) -> torch.Tensor:
        """Return σ/α, (GRID + 1,)."""
        return self.sigmas / self.alphas


def teacher_scheduler() -> SchedulerMixin:
    """Return DPM-Solver++(2M) over the grid."""
    scheduler = make_scheduler("dpm++2m", build_scheduler().config)
    scheduler.set_timesteps(GRID)
    return scheduler


def grid_levels() -> Levels:
    """Return the noise levels of the grid."""
    timesteps = teacher_scheduler().timesteps
    squares = build_scheduler().alphas_cumprod[timesteps]
    one, zero = torch.ones(1), torch.zeros(1)
    return Levels(
        timesteps=torch.cat([timesteps, zero.long()]),
        alphas=torch.cat([squares.sqrt(), one]),
        sigmas=torch.cat([(1 - squares).sqrt(), zero]),
    )


def record(
    predict: Callable[[Moment], torch.Tensor],
    folder: Path,
    *,
    base_px: int,
    batch: int,
    seed: int,
    wanted: Callable[[int], bool],
) -> None:
    """Record batches of trajectories into `folder` while wanted(recorded so far) says so.

    Args:
        predict: the teacher's prediction for the guidance pairs of a Moment, (2·B, 4, h, w).
        folder: one file per batch; batches that are there count, so that recording resumes.
        base_px: the side that the teacher was trained at.
        batch: trajectories of a file, of the training side; fewer of larger shapes.
        seed: of captions and noise.
    """
    while wanted(len(names := files(folder))):
        place = len(names)
        recording = _recorded(predict, base_px, batch, np.random.default_rng((seed, 7, place)))
        state = {
            "states": recording.states,
            "captions": list(recording.captions),
            "time_ids": recording.time_ids,
        }
        save_checkpoint(state, folder / f"{place:05d}.pt")


def files(folder: Path) -> list[Path]:
    """Return the files of recordings, in order."""
    return sorted(folder.glob("[0-9]*.pt"))


def read(folder: Path) -> list[Recording]:
    """Return all recordings of a folder.

    Raises:
        GspnError: there are fewer than two, one to measure and one to train on.
    """
    paths = files(folder)
    if len(paths) < 2:
        raise GspnError(
            f"{folder} holds {len(paths)} recordings, 2 or more are needed; make them with "
            "`python -m gspn_core.training.few_step record`."
        )
    return [_read(path) for path in paths]


def _read(path: Path) -> Recording:
    state = torch.load(path, weights_only=True)
    return Recording(states=state["states"], captions=tuple(state["captions"]), time_ids=state["time_ids"])


@torch.no_grad()
def _recorded(
    predict: Callable[[Moment], torch.Tensor], base_px: int, batch: int, rng: np.random.Generator
) -> Recording:
    tall, wide = SHAPES[int(rng.choice(len(SHAPES), p=SHAPE_SHARES))]
    height, width = int(tall * base_px), int(wide * base_px)
    count = max(1, int(batch / (tall * wide)))
    texts = tuple(_caption(rng) for _ in range(count))
    shape = (count, LATENT_CHANNELS, height // LATENT_FACTOR, width // LATENT_FACTOR)
    ids = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)
    x = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    states = [*_walk(predict, x, texts, ids)]
    return Recording(states=torch.stack(states, dim=1).half(), captions=texts, time_ids=ids)


def _walk(
    predict: Callable[[Moment], torch.Tensor], x: torch.Tensor, texts: tuple[str, ...], ids: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield the latents (B, 4, h, w) at every grid point, from noise on."""
    scheduler, count = teacher_scheduler(), len(x)
    guidance, weights = torch.full((count, 1, 1, 1), GUIDANCE), torch.ones(count, 1, 1, 1)
    yield x
    for timestep in scheduler.timesteps:
        moment = Moment(x, timestep.repeat(count), list(texts), ids.repeat(count, 1), guidance, weights)
        x = scheduler.step(moment.guided(predict(moment)), timestep, x, return_dict=False)[0]
        yield x


def _caption(rng: np.random.Generator) -> str:
    scene = sample_scene(rng)
    text = caption(scene, rng)
    return "" if rng.random() < EMPTY_SHARE else text
