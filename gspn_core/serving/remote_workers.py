"""The server's workers on Ray: they load what its options say, and take the runs of its queue."""

from __future__ import annotations

from functools import partial
from typing import Any

from gspn_core.events import ModelProgress
from gspn_core.models.catalog import find_card
from gspn_core.planning.types import ModelCard
from gspn_core.remote.cluster import Cluster, WorkersAsked
from gspn_core.remote.pool import WorkerPool
from gspn_core.remote.worker import RemoteWorker
from gspn_core.runs.worker import Worker
from gspn_core.runs.workers import Workers
from gspn_core.serving.engine_loader import LoadEngine
from gspn_core.serving.server_options import ServerOptions


def pool_of(options: ServerOptions, card: ModelCard, load: LoadEngine) -> WorkerPool:
    """Return the workers that options ask for, which load their engines by `load`; not opened yet."""
    asked = WorkersAsked(
        count=None if options.workers == "auto" else options.workers,
        address=options.ray,
        cpu=options.device == "cpu",
    )
    return WorkerPool(lambda: Cluster(asked), partial(load_for_worker, options, load), card)


def load_for_worker(options: ServerOptions, load: LoadEngine) -> tuple[Any, str, str, str]:
    """Return an engine, its model's name and fingerprint, and words for the machine; called by a worker."""
    card = find_card(options.model, device=options.device, dtype=options.dtype, extras=options.extras)
    engine, machine = load(options, _unseen)
    return engine, card.name, card.fingerprint, machine


def take_runs(pool: WorkerPool, workers: Workers) -> None:
    """Let the workers of a pool take the runs of a queue, from when they join to when they are gone."""
    joined: dict[RemoteWorker, Worker] = {}

    def join(remote: RemoteWorker) -> None:
        worker = Worker(name=remote.name, run=remote.run, final_plan=remote.final_plan)
        if joined.setdefault(remote, worker) is worker:
            workers.join(worker)

    def leave(remote: RemoteWorker) -> None:
        if remote in joined:
            workers.leave(joined[remote])

    pool.on_join, pool.on_leave = join, leave
    for remote in pool.workers:
        join(remote)


def _unseen(_progress: ModelProgress) -> None:
    """Take the progress of a worker's loading, which no one sees."""
