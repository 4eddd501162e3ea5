"""The worker's side of Ray: an engine in a process of its own, which runs one plan at a time."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from gspn_core.errors import GspnError, ModelUnavailable
from gspn_core.events import Event, StageNotTimed, StageTimed
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import CascadePlan
from gspn_core.remote.messages import Facts, Failure, versions
from gspn_core.remote.pictures import send_pictures_whole

# What the server may ask of the engine, in a thread next to that of the run.
QUESTIONS = frozenset({"plan", "weights", "model_calls", "still_fits"})
_log = logging.getLogger(__name__)


class EngineActor:
    """An engine and the card of its model. `run` and `measure` are called in one thread, the rest in another.

    load: returns the engine, its model's name and fingerprint, and a few words for the machine.
    """

    def __init__(self, load: Callable[[], tuple[Any, str, str, str]]) -> None:
        send_pictures_whole()
        self._stopped: set[str] = set()
        self._engine: Any = None
        self._facts: Facts | Failure
        try:
            self._engine, model, fingerprint, machine = load()
        except GspnError as error:
            self._facts = Failure(error=error)
            return
        except Exception as error:
            _log.exception("The model could not be loaded")
            sentence = f"the model could not be loaded ({type(error).__name__}: {error})."
            self._facts = Failure(error=ModelUnavailable(sentence))
            return
        self._facts = Facts(
            versions=versions(),
            model=model,
            fingerprint=fingerprint,
            machine=machine,
            timing_key=getattr(self._engine, "timing_key", ""),
            host=socket.gethostname(),
            process_id=os.getpid(),
        )

    def facts(self) -> Facts | Failure:
        """Return what is loaded, or why nothing is."""
        return self._facts

    def ping(self) -> None:
        """Return at once, which shows that the process is there."""

    def stop(self, run_id: str) -> None:
        """Stop a run or a measurement within a step."""
        self._stopped.add(run_id)

    def set_timings(self, timings: Sequence[StageTiming]) -> None:
        """Set what stages took before, on which plans rest."""
        self._engine.timings = lambda: timings

    def ask(self, question: str, *arguments: Any) -> Any:
        """Return what the engine's method of that name returns, or the error that it raises."""
        if question not in QUESTIONS:
            return Failure(error=GspnError(f"{question!r} is not a question to an engine."))
        try:
            return getattr(self._engine, question)(*arguments)
        except GspnError as error:
            return Failure(error=error)

    def run(
        self, run_id: str, plan: CascadePlan, options: Mapping[str, Any]
    ) -> Generator[Event | Failure, None, None]:
        """Yield the events of a run, and last the error that ended it, if one did."""
        yield from self._sent(run_id, lambda stop: self._engine.run(plan, stop, **options))

    def measure(
        self, run_id: str, *, every_mixer: bool
    ) -> Generator[StageTimed | StageNotTimed | Failure, None, None]:
        """Yield what stages take here."""
        yield from self._sent(run_id, lambda stop: self._engine.measure(stop, every_mixer=every_mixer))

    def _sent(
        self, run_id: str, begin: Callable[[Callable[[], bool]], Generator[Any, None, None]]
    ) -> Iterator[Any]:
        try:
            with closing(begin(lambda: run_id in self._stopped)) as events:
                yield from events
        except GspnError as error:
            yield Failure(error=error)
        except Exception as error:
            _log.exception("Run %s failed", run_id)
            sentence = f"the run failed on {socket.gethostname()} ({type(error).__name__}: {error})."
            yield Failure(error=GspnError(sentence))
        finally:
            self._stopped.discard(run_id)
