"""The workers of a server on Ray: started, checked when they join, and replaced when they are lost.

To the rest of the server a pool is an engine: it plans, and measures, on the first worker that answers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from gspn_core.errors import GspnError, ModelUnavailable, WorkerLost
from gspn_core.events import Event, StageNotTimed, StageTimed, StepWeights
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.remote.cluster import Cluster
from gspn_core.remote.messages import check_facts, opened
from gspn_core.remote.worker import RemoteWorker
from gspn_core.settings import Settings

_POLL_SECONDS = 2.0
_HURRIED_SECONDS = 0.2
_MOST_PAUSE_SECONDS = 60.0
_MOST_CALLS = 10_000
_log = logging.getLogger(__name__)


class WorkerPool:
    """The workers on a cluster. Thread-safe.

    Args:
        cluster: makes the cluster; called in `open`.
        load: what each worker calls to load its engine, see `EngineActor`; it is pickled.
        card: of the model that they are to have.
        on_join: called with each worker that is ready.
        on_leave: called with each that is gone.
    """

    def __init__(
        self,
        cluster: Callable[[], Cluster],
        load: Callable[[], tuple[Any, str, str, str]],
        card: ModelCard,
        *,
        on_join: Callable[[RemoteWorker], None] = lambda _: None,
        on_leave: Callable[[RemoteWorker], None] = lambda _: None,
    ) -> None:
        self._make_cluster, self._load, self._card = cluster, load, card
        self.on_join, self.on_leave = on_join, on_leave
        self.timings: Callable[[], Sequence[StageTiming]] = tuple
        self._changed = threading.Condition()
        self._cluster: Cluster | None = None
        self._workers: list[RemoteWorker] = []
        # Those that are loading their model, with Ray's reference to what they have loaded.
        self._starting: list[tuple[Any, Any]] = []
        self._pings: dict[RemoteWorker, Any] = {}
        self._calls: dict[str, float] = {}
        self._names = 0
        self._failures, self._not_before = 0, 0.0
        self._error: GspnError | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def workers(self) -> tuple[RemoteWorker, ...]:
        """Return the workers that have joined and are not known to be gone."""
        with self._changed:
            return tuple(self._workers)

    @property
    def timing_key(self) -> str:
        """Return what timings depend on, as the first worker says."""
        workers = self.workers
        return workers[0].facts.timing_key if workers else ""

    def open(self) -> str:
        """Connect, wait for the first worker and return a few words for what they run on.

        Raises:
            ModelUnavailable: the cluster does not answer, or no worker can load the model.
        """
        self._cluster = self._make_cluster()
        self._thread = threading.Thread(target=self._watch, name="gspn-workers", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._workers or self._error or self._closed)
            if not self._workers:
                raise self._error or ModelUnavailable("The server is closing.")
            machine = self._workers[0].facts.machine
        return f"{self._cluster.wanted} × {machine}"

    def wait_for(self, count: int, timeout_seconds: float) -> bool:
        """Wait until that many workers have joined; return whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._workers) >= count, timeout_seconds)

    def close(self) -> None:
        """End the workers and leave the cluster."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._cluster is not None:
            self._cluster.close()

    def run(
        self, plan: CascadePlan, should_stop: Callable[[], bool], **options: Any
    ) -> Generator[Event, None, None]:
        """Run a plan on the first worker, see `Engine.run`; raise WorkerLost without one."""
        yield from self._any().run(plan, should_stop, **options)

    def plan(self, settings: Settings) -> CascadePlan:
        """Plan a run on a worker; without one, the model's card has to do."""
        try:
            return self._ask("plan", settings)
        except WorkerLost:
            return make_plan(settings, self._card)

    def weights(self, plan: CascadePlan) -> tuple[tuple[StepWeights, ...], ...] | None:
        """Return the weights of each step of each stage of a plan; None while there is no worker."""
        try:
            return self._ask("weights", plan)
        except WorkerLost:
            return None

    def model_calls(self, stage: StagePlan) -> float | None:
        """Return how many times a stage evaluates the UNet; None while there is no worker."""
        if stage.key not in self._calls:
            try:
                calls = self._ask("model_calls", stage)
            except WorkerLost:
                return None
            if len(self._calls) >= _MOST_CALLS:
                self._calls.clear()
            self._calls[stage.key] = calls
        return self._calls[stage.key]

    def measure(
        self, should_stop: Callable[[], bool], *, every_mixer: bool
    ) -> Iterator[StageTimed | StageNotTimed]:
        """Measure stages on a worker, see `Engine.measure`; raise WorkerLost without one."""
        yield from self._any().measure(should_stop, every_mixer=every_mixer)

    def _any(self) -> RemoteWorker:
        workers = self.workers
        if not workers:
            raise WorkerLost("No worker is there; wait for one to join.")
        return workers[0]

    def _ask(self, question: str, *arguments: Any) -> Any:
        while True:
            worker = self._any()
            try:
                worker.set_timings(self.timings())
                return worker.ask(question, *arguments)
            except WorkerLost:
                # It is not among the workers any more.
                continue

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
            try:
                self._look()
            except Exception as error:
                _log.exception("The workers could not be looked after")
                self._refuse(error)
            with self._changed:
                hurried = bool(self._starting) or len(self._workers) < 1
                seconds = _HURRIED_SECONDS if hurried else _POLL_SECONDS
                self._changed.wait_for(lambda: self._closed, seconds)

    def _look(self) -> None:
        """Let those join that are ready, miss those that are gone, and start what is wanted."""
        import ray

        for actor, facts in list(self._starting):
            if ray.wait([facts], timeout=0)[0]:
                self._starting.remove((actor, facts))
                self._admit(actor, facts)
        for worker in self.workers:
            ping = self._pings.get(worker)
            if ping is None:
                self._pings[worker] = worker.ping()
            elif ray.wait([ping], timeout=0)[0]:
                del self._pings[worker]
                try:
                    ray.get(ping)
                except ray.exceptions.RayError:
                    self._miss(worker)
        missing = self._cluster.wanted - len(self.workers) - len(self._starting)
        # A machine has left the cluster, and those that were to start there have no place.
        for _ in range(min(-missing, len(self._starting))):
            ray.kill(self._starting.pop()[0])
        if missing > 0 and time.monotonic() >= self._not_before:
            for _ in range(missing):
                actor = self._cluster.start(self._load)
                self._starting.append((actor, actor.facts.options(concurrency_group="control").remote()))

    def _admit(self, actor: Any, reference: Any) -> None:
        import ray

        try:
            facts = opened(ray.get(reference))
            check_facts(facts, self._card)
        except (GspnError, ray.exceptions.RayError) as error:
            ray.kill(actor)
            self._refuse(error)
            return
        with self._changed:
            self._failures = 0
            self._names += 1
            worker = RemoteWorker(f"worker {self._names} on {facts.host}", actor, facts, self._miss)
            self._workers.append(worker)
            self._changed.notify_all()
        self.on_join(worker)

    def _refuse(self, error: Exception) -> None:
        """Keep why a worker cannot join, and try again later."""
        sentence = str(error).splitlines()[0][:300]
        _log.warning("A worker cannot join: %s", sentence)
        with self._changed:
            self._failures += 1
            self._not_before = time.monotonic() + min(_MOST_PAUSE_SECONDS, 2.0**self._failures)
            known = isinstance(error, GspnError)
            self._error = error if known else ModelUnavailable(f"A worker ended: {sentence}")
            self._changed.notify_all()

    def _miss(self, worker: RemoteWorker) -> None:
        with self._changed:
            if worker not in self._workers:
                return
            self._workers.remove(worker)
            self._pings.pop(worker, None)
            self._changed.notify_all()
        _log.warning("%s is gone", worker.name)
        self.on_leave(worker)
