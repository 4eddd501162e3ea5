"""Runs an hour and the seconds of a grid on several workers, and what events and pictures cost on the way."""

from __future__ import annotations

import argparse
import heapq
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from gspn_core.bench.table import Table, median, spread
from gspn_core.events import CascadeDone, Event, MemorySample, PlanReady, StageDone, StageStarted, StepDone
from gspn_core.models.catalog import find_card
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import CascadePlan, ModelCard
from gspn_core.remote.cluster import Cluster, WorkersAsked
from gspn_core.remote.pool import WorkerPool
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.worker import Worker
from gspn_core.settings import Settings
from gspn_core.studies.axis import parse_axis
from gspn_core.studies.runner import Studies

_MEMORY = MemorySample(kind="process", now_bytes=10**9, peak_bytes=10**9, total_bytes=8 * 10**9)
_EVENTS = 300
_PICTURES = 5
_STAGE_PX = 2048
_WAIT_SECONDS = 600
_SIMULATED = (1, 8, 64, 512)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--model", default="world")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--target", type=int, default=512, help="of the runs and cells (default: 512)")
    parser.add_argument("--steps", type=int, default=6, help="of the first stage (default: 6)")
    parser.add_argument("--runs", type=int, default=4, help="runs of a repeat (default: 4)")
    parser.add_argument(
        "--gpu-seconds",
        type=float,
        default=10.0,
        help="simulation: what a run of three stages takes on a GPU (default: 10)",
    )


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return three tables: throughput, overheads, and the simulation of more GPUs than there are."""
    card = find_card(arguments.model)
    event, picture = _overheads(arguments.repeats)
    written = _writing(arguments.repeats)
    return [
        _throughput(arguments, card),
        _costs(event, picture, written),
        _simulated(arguments, event, picture, written),
    ]


class Idle:
    """An engine that draws nothing: what it yields costs only its way."""

    def run(self, plan: CascadePlan, _should_stop: Callable[[], bool], **options: Any) -> Iterator[Event]:
        """Yield as many steps as the prompt says, then each stage's picture."""
        yield PlanReady(plan=plan, model_calls=tuple(stage.steps for stage in plan.stages))
        preview = Image.new("RGB", (256, 256), (90, 120, 60))
        for stage in plan.stages[len(options.get("finished", ())) :]:
            yield StageStarted(stage=stage, weights=())
            for step in range(1, stage.steps + 1):
                yield StepDone(
                    stage=stage.index,
                    step=step,
                    steps=stage.steps,
                    seconds=1.0,
                    memory=_MEMORY,
                    preview=preview,
                )
            yield StageDone(
                stage=stage,
                image=_picture(stage.size.width, stage.settings.seed),
                seconds=1.0,
                memory=_MEMORY,
            )
        yield CascadeDone(seconds=1.0)


IDLE_CARD = ModelCard(
    name="idle",
    title="Idle",
    description="draws nothing",
    base_px=_STAGE_PX,
    size_multiple=64,
    max_target_px=_STAGE_PX,
    default_target_px=_STAGE_PX,
    num_inference_steps=1,
    guidance_scale=4.0,
    upscale_strength=0.5,
    mixers=("gspn",),
)


def load_idle() -> tuple[Any, str, str, str]:
    """Return the idle engine; called by a worker."""
    return Idle(), IDLE_CARD.name, IDLE_CARD.fingerprint, "nothing"


def load_model_of(model: str, threads: int) -> tuple[Any, str, str, str]:
    """Return an engine of a model; called by a worker."""
    import torch

    from gspn_core.engine import Engine
    from gspn_core.models.loading import load_model
    from gspn_core.runtime.device import describe_machine

    torch.set_num_threads(threads)
    loaded, card = load_model(model), find_card(model)
    return Engine(loaded), card.name, card.fingerprint, describe_machine(loaded.device)


def _picture(px: int, seed: int) -> Image.Image:
    """Return a picture with as much detail as a photograph's, which PNG does not pack to nothing."""
    small = Image.effect_noise((px // 8, px // 8), 60 + seed % 8)
    return Image.merge("RGB", (small, small.rotate(90), small.rotate(180))).resize(
        (px, px), Image.Resampling.BICUBIC
    )


@contextmanager
def _pool(count: int, load: Callable[[], Any], card: ModelCard, *, cpu: bool) -> Iterator[WorkerPool]:
    asked = WorkersAsked(count=count, cpu=cpu)
    pool = WorkerPool(lambda: Cluster(asked, log_to_driver=False), load, card)
    with closing(pool):
        pool.open()
        pool.wait_for(count, _WAIT_SECONDS)
        yield pool


def _overheads(repeats: int) -> tuple[list[float], list[float]]:
    """Return the seconds of an event and of a finished stage beyond what they take in this process."""
    plan = make_plan(Settings(prompt="nothing", seed=1, num_inference_steps=_EVENTS), IDLE_CARD)
    short = make_plan(Settings(prompt="nothing", seed=1, num_inference_steps=1), IDLE_CARD)
    events, pictures = [], []
    with _pool(1, load_idle, IDLE_CARD, cpu=True) as pool:
        for plan_of_it in (short, plan):
            _seconds(pool.run, plan_of_it)
        for _ in range(repeats):
            one = [_seconds(pool.run, short) - _seconds(Idle().run, short) for _ in range(_PICTURES)]
            pictures.append(median(one))
            many = _seconds(pool.run, plan) - _seconds(Idle().run, plan)
            events.append(max(0.0, many - median(one)) / (_EVENTS - 1))
    return events, pictures


def _seconds(run: Callable[..., Iterator[Event]], plan: CascadePlan) -> float:
    began = time.perf_counter()
    for _ in run(plan, lambda: False):
        pass
    return time.perf_counter() - began


def _writing(repeats: int) -> list[float]:
    """Return the seconds in which the server keeps a finished stage: proxy, tiles, PNG and records."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        jobs = RunQueue(
            Idle().run, folder, plan=lambda settings: make_plan(settings, IDLE_CARD), max_queued=100
        )
        with closing(jobs):
            for repeat in range(repeats):
                began = time.perf_counter()
                asked = [
                    Settings(prompt="nothing", seed=10 * repeat + i, num_inference_steps=1) for i in range(3)
                ]
                for job_id in [jobs.submit(one) for one in asked]:
                    for _ in jobs.follow(job_id):
                        pass
                found.append((time.perf_counter() - began) / 3)
    return found


def _costs(event: Sequence[float], picture: Sequence[float], written: Sequence[float]) -> Table:
    table = Table(title="What a worker adds to a run", columns=("for each", "milliseconds", "least–most"))
    rows = (
        ("event with a preview of 256 px", event),
        (f"finished stage of {_STAGE_PX} px, to the server", picture),
        (f"finished stage of {_STAGE_PX} px, to the disk", written),
    )
    for name, seconds in rows:
        ms = [1000 * one for one in seconds]
        table.rows.append((name, f"{median(ms):.2f}", spread(ms)))
    table.notes.append(
        "To the disk: the same with one worker in this process; proxy, tiles, PNG and records."
    )
    return table


def _throughput(arguments: argparse.Namespace, card: ModelCard) -> Table:
    """Return runs an hour and the seconds of a 2 × 2 grid at each number of workers."""
    columns = (
        "workers",
        "runs an hour",
        "least–most",
        "against one",
        "seconds of a 2 × 2 grid",
        "least–most",
    )
    table = Table(title=f"{card.title} to {arguments.target} px", columns=columns)
    hourly: dict[int, float] = {}
    for count in arguments.workers:
        asked = WorkersAsked(count=count)
        with _pool(count, partial(load_model_of, arguments.model, _threads(asked)), card, cpu=False) as pool:
            seconds, grids = [], []
            for repeat in range(arguments.repeats + 1):
                with tempfile.TemporaryDirectory() as folder:
                    runs, grid = _served(pool, folder, arguments, card, repeat)
                if repeat:
                    seconds.append(runs)
                    grids.append(grid)
        hours = [3600 * arguments.runs / one for one in seconds]
        hourly[count] = median(hours)
        ratio = hourly[count] / hourly[arguments.workers[0]]
        table.rows.append(
            (
                count,
                f"{median(hours):.0f}",
                spread(hours),
                f"{ratio:.2f}",
                f"{median(grids):.1f}",
                spread(grids),
            )
        )
    table.notes.append(
        f"Medians of {arguments.repeats}; each of {arguments.runs} runs of {arguments.steps} steps; the "
        "cores are shared out among the workers. The first repeat, which reads the model, is left out."
    )
    return table


def _threads(asked: WorkersAsked) -> int:
    from gspn_core.runtime.device import usable_cores

    return max(1, usable_cores() // (asked.count or 1))


def _served(
    pool: WorkerPool, folder: str, arguments: argparse.Namespace, card: ModelCard, repeat: int
) -> tuple[float, float]:
    """Return the seconds of the runs and of the grid, through a queue that writes their files."""
    jobs = RunQueue(None, Path(folder), plan=pool.plan, max_queued=1000)
    for worker in pool.workers:
        jobs.workers.join(Worker(name=worker.name, run=worker.run, final_plan=worker.final_plan))
    studies = Studies(jobs)
    base = Settings(
        prompt="a house by a lake", seed=1, target=arguments.target, num_inference_steps=arguments.steps
    )
    seeds = itertools.count(1000 * repeat)
    with closing(jobs), closing(studies):
        began = time.perf_counter()
        asked = [base.to_dict() | {"seed": next(seeds)} for _ in range(arguments.runs)]
        for job_id in [jobs.submit(Settings.from_dict(one), visitor=f"v{i}") for i, one in enumerate(asked)]:
            for _ in jobs.follow(job_id):
                pass
        runs = time.perf_counter() - began
        axes = [parse_axis("seed", f"2 from {next(seeds)}", card), parse_axis("gaussian_sigma", "0, 1", card)]
        began = time.perf_counter()
        for _ in studies.follow(studies.start(studies.draft(base, axes), visitor="a visitor")):
            pass
        return runs, time.perf_counter() - began


def _simulated(
    arguments: argparse.Namespace, event: Sequence[float], picture: Sequence[float], written: Sequence[float]
) -> Table:
    """Return what more GPUs than there are would do to the server, from the costs that were measured."""
    steps, stages = 90, 3
    # A picture of a quarter of the pixels costs a quarter.
    pixels = sum(4.0**-stage for stage in range(stages))
    taken = steps * median(event) + pixels * median(picture)
    kept = pixels * median(written)
    table = Table(
        title=f"Simulation: runs of {arguments.gpu_seconds:g} s, {steps} steps, {stages} stages",
        columns=("GPUs", "runs an hour", "of what the GPUs could", "events", "writer"),
    )
    for count in _SIMULATED:
        runs, busy, writes = simulate(count, arguments.gpu_seconds, taken, kept)
        could = 3600 * count / arguments.gpu_seconds
        table.rows.append((count, f"{runs:.0f}", f"{runs / could:.0%}", f"{busy:.0%}", f"{writes:.0%}"))
    most = arguments.gpu_seconds / max(taken, kept)
    what = (
        "the one thread that writes PNG and tiles"
        if kept > taken
        else "the interpreter that takes the events"
    )
    table.notes.append(
        f"One server takes {1000 * taken:.0f} ms a run for events and {1000 * kept:.0f} ms for files. It is "
        f"full at {most:.0f} GPUs: {what}."
    )
    return table


def simulate(
    workers: int, run_seconds: float, taken: float, kept: float, *, hours: float = 2.0
) -> tuple[float, float, float]:
    """Return runs an hour, and the share of the time in which the server's interpreter and writer are busy.

    Each worker begins its next run once its last one's events are taken; files are written behind it, but by
    one thread, and a run ends when they are.

    Args:
        workers: how many there are; each always has a run.
        run_seconds: of a run on a worker.
        taken: seconds of the interpreter for a run's events and pictures.
        kept: seconds of the writer for a run's files.
        hours: that are simulated.
    """
    end = 3600 * hours
    # Begun one after another, so that they do not all end at once.
    ends = [run_seconds * (1 + number / workers) for number in range(workers)]
    heapq.heapify(ends)
    interpreter = writer = busy = writes = 0.0
    done = 0
    while ends[0] < end:
        interpreter = max(interpreter, heapq.heappop(ends)) + taken
        writer = max(writer, interpreter) + kept
        busy, writes = busy + taken, writes + kept
        done += writer <= end
        heapq.heappush(ends, interpreter + run_seconds)
    return done / hours, min(1.0, busy / end), min(1.0, writes / end)
