"""The server's side of a worker: its actor's events as a run yields them, and its answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gspn_core.errors import GspnError, WorkerLost
from gspn_core.events import Event, StageNotTimed, StageTimed
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import CascadePlan
from gspn_core.remote.messages import Facts, Failure, opened

STOP_POLL_SECONDS = 0.1
# A worker that draws a large picture answers between two of its steps.
_ANSWER_SECONDS = 120.0


class RemoteWorker:
    """A worker that has joined.

    Args:
        name: for people.
        actor: Ray's handle of an `EngineActor`.
        facts: what it has loaded.
        on_lost: called once it is found to be gone.
    """

    def __init__(self, name: str, actor: Any, facts: Facts, on_lost: Callable[[RemoteWorker], None]) -> None:
        self.name, self.actor, self.facts, self._on_lost = name, actor, facts, on_lost
        self._timings: Sequence[StageTiming] = ()

    def run(
        self, plan: CascadePlan, should_stop: Callable[[], bool], **options: Any
    ) -> Generator[Event, None, None]:
        """Yield a run's events as `Engine.run` does; raise WorkerLost if the worker is gone."""
        run_id = secrets.token_hex(8)
        method = self.actor.run.options(num_returns="streaming")
        yield from self._events(run_id, method.remote(run_id, plan, options), should_stop)

    def measure(
        self, should_stop: Callable[[], bool], *, every_mixer: bool
    ) -> Generator[StageTimed | StageNotTimed, None, None]:
        """Yield what stages take there; see `Engine.measure`."""
        run_id = secrets.token_hex(8)
        method = self.actor.measure.options(num_returns="streaming")
        yield from self._events(run_id, method.remote(run_id, every_mixer=every_mixer), should_stop)

    def final_plan(self, plan: CascadePlan, _should_stop: Callable[[], bool]) -> CascadePlan:
        """Return what to run of a plan: another one where there is too little memory for it by now."""
        if plan.budget_bytes is not None and self.ask("still_fits", plan):
            return plan
        return self.ask("plan", plan.settings)

    def set_timings(self, timings: Sequence[StageTiming]) -> None:
        """Send what stages took before, unless the worker has it."""
        if timings is not self._timings:
            self._timings = timings
            self._control("set_timings").remote(tuple(timings))

    def ask(self, question: str, *arguments: Any) -> Any:
        """Return what the engine's method of that name returns; raise what it raises, and WorkerLost."""
        import ray

        try:
            with self._watched():
                answer = ray.get(self._control("ask").remote(question, *arguments), timeout=_ANSWER_SECONDS)
        except TimeoutError:
            raise GspnError(f"{self.name} does not answer; try again later.") from None
        return opened(answer)

    def ping(self) -> Any:
        """Return Ray's reference to an answer that comes while the worker is there."""
        return self._control("ping").remote()

    def _control(self, method: str) -> Any:
        return getattr(self.actor, method).options(concurrency_group="control")

    def _events(self, run_id: str, stream: Any, should_stop: Callable[[], bool]) -> Iterator[Any]:
        import ray

        stopping = ended = False
        try:
            while not ended:
                with self._watched():
                    ready, _ = ray.wait([stream], timeout=STOP_POLL_SECONDS)
                    if not stopping and should_stop():
                        stopping = True
                        self._control("stop").remote(run_id)
                    if not ready:
                        continue
                    try:
                        message = ray.get(next(stream))
                    except StopIteration:
                        ended = True
                        return
                ended = isinstance(message, Failure)
                yield opened(message)
        finally:
            # Whoever closes the generator early has no use for the rest.
            if not ended:
                self._control("stop").remote(run_id)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        import ray

        try:
            yield
        except ray.exceptions.GetTimeoutError:
            raise
        except ray.exceptions.RayError as error:
            self._on_lost(self)
            raise WorkerLost(f"{self.name} was lost ({type(error).__name__}).") from error
