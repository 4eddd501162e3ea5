"""An engine that is loaded in the background, so that the page answers before the model is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from gspn_core.errors import GspnError, ModelUnavailable, Stopped
from gspn_core.events import Event, ModelProgress, StageNotTimed, StageTimed, StepWeights
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.runs.timings import Timings
from gspn_core.serving.zerogpu import Decorator, run_on_zerogpu
from gspn_core.settings import Settings

STOP_POLL_SECONDS = 0.2

OnProgress = Callable[[ModelProgress], None]
Load = Callable[[OnProgress], tuple[Any, str]]


@runtime_checkable
class MeasurableEngine(Protocol):
    """An engine that can measure what stages take, and whose plans rest on that.

    timing_key: in one word what seconds depend on; timings: returns what was timed before.
    """

    timing_key: str
    timings: Callable[[], Sequence[StageTiming]]

    def measure(
        self, should_stop: Callable[[], bool], *, every_mixer: bool
    ) -> Iterator[StageTimed | StageNotTimed]:
        """Measure stages; see `gspn_core.engine.Engine.measure`."""


@runtime_checkable
class WatchfulEngine(Protocol):
    """An engine that knows whether the memory that a plan was made for is still there."""

    def still_fits(self, plan: CascadePlan) -> bool:
        """Return whether a plan fits into the memory that there is now."""


class EngineHost:
    """Loads an engine in a thread of its own and stands in for it until it is there.

    Args:
        card: The model that is loaded.
        load: Returns the engine and a few words for the machine it runs on; calls back with its progress
            and raises GspnError.
        planned_seconds: Returns what a plan's run takes, None if unknown; asked on ZeroGPU.
        zerogpu: ZeroGPU's decorator, on a Space whose GPU is there for one call only; None elsewhere.
        timings: What stages took before; opened for the engine once it is loaded.
        on_measurable: Called once an engine is loaded that can be measured.
    """

    def __init__(
        self,
        card: ModelCard,
        load: Load,
        *,
        planned_seconds: Callable[[CascadePlan], float | None] = lambda _: None,
        zerogpu: Decorator | None = None,
        timings: Timings | None = None,
        on_measurable: Callable[[], None] = lambda: None,
    ) -> None:
        self._card = card
        self._load = load
        self._planned_seconds = planned_seconds
        self._zerogpu = zerogpu
        self._timings = timings
        self._on_measurable = on_measurable
        self._run: Callable[..., Iterator[Event]] | None = None
        self._settled = threading.Event()
        self._engine: Any = None
        self._machine = ""
        self._dropped = False
        self.error: GspnError | None = None
        self.progress: ModelProgress | None = None

    def start(self) -> None:
        """Load the model in the background, unless `load` has done so."""
        if not self._settled.is_set():
            threading.Thread(target=self.load, name="gspn-loader", daemon=True).start()

    def load(self) -> None:
        """Load the model; return once it is there or `error` says why it is not."""
        try:
            self._engine, self._machine = self._load(self._take_progress)
            self._run = self._run_of(self._engine)
            if isinstance(self._engine, MeasurableEngine):
                self._open_timings(self._engine)
        except GspnError as error:
            self.error = error
        except Exception as error:
            self.error = ModelUnavailable(f"the model could not be loaded ({type(error).__name__}: {error}).")
        finally:
            self._settled.set()
            if self._dropped:
                self.drop()

    def drop(self) -> None:
        """Release the model; end loading it at its next progress."""
        self._dropped = True
        self._engine = self._run = None

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the model is loaded or has failed to load; return whether that is so."""
        return self._settled.wait(timeout_seconds)

    def machine(self) -> str | None:
        """Return what the model runs on, None while it is being loaded."""
        return self._machine if self._settled.is_set() else None

    def plan(self, settings: Settings) -> CascadePlan:
        """Return what a run would do; the card is enough for that."""
        engine = self._engine
        return make_plan(settings, self._card) if engine is None else engine.plan(settings)

    def weights(self, plan: CascadePlan) -> tuple[tuple[StepWeights, ...], ...] | None:
        """Return what each step of each stage of a plan would mix; None while the model is being loaded."""
        return self._engine.weights(plan) if self._engine is not None else None

    def model_calls(self, stage: StagePlan) -> int | None:
        """Return how many times a stage evaluates the UNet; None while the model is being loaded."""
        return self._engine.model_calls(stage) if self._engine is not None else None

    def final_plan(self, plan: CascadePlan, should_stop: Callable[[], bool]) -> CascadePlan:
        """Wait for the model and return the plan to run.

        One that was made without the model is made again, and so is one for which there is too little memory
        by now.

        Raises:
            Stopped: should_stop returned true while the model was being loaded.
            ModelUnavailable: The model could not be loaded.
        """
        self._wait_for_model(should_stop)
        engine = self._engine
        # With a budget it was made by the engine, which knows the memory that there was.
        is_stale = isinstance(engine, WatchfulEngine) and not engine.still_fits(plan)
        return self.plan(plan.settings) if plan.budget_bytes is None or is_stale else plan

    def run(self, plan: CascadePlan, should_stop: Callable[[], bool], **options: Any) -> Iterator[Event]:
        """Wait for the model, then yield a run's events.

        Raises:
            Stopped: should_stop returned true while the model was being loaded.
            ModelUnavailable: The model could not be loaded.
        """
        self._wait_for_model(should_stop)
        yield from self._run(plan, should_stop, **options)

    def _wait_for_model(self, should_stop: Callable[[], bool]) -> None:
        while not self.wait(STOP_POLL_SECONDS):
            if should_stop():
                raise Stopped("The run was stopped while the model was being loaded.")
        if self.error is not None:
            raise self.error

    def measure(
        self, should_stop: Callable[[], bool], *, every_mixer: bool
    ) -> Iterator[StageTimed | StageNotTimed]:
        """Yield what stages cost here, see `gspn_core.engine.Engine.measure`.

        Raises:
            ModelUnavailable: The model is not loaded.
        """
        if self._engine is None:
            raise self.error or ModelUnavailable("The model is still being loaded; measure when it is ready.")
        yield from self._engine.measure(should_stop, every_mixer=every_mixer)

    def _open_timings(self, engine: MeasurableEngine) -> None:
        if self._timings is not None:
            model = f"{self._card.name} {self._card.fingerprint}"
            self._timings.open(engine.timing_key, model=model, machine=self._machine)
            engine.timings = self._timings.all
            self._on_measurable()

    def _run_of(self, engine: Any) -> Callable[..., Iterator[Event]]:
        if self._zerogpu is not None:
            return run_on_zerogpu(engine.run, self._zerogpu, self._planned_seconds)
        return engine.run

    def _take_progress(self, progress: ModelProgress) -> None:
        if self._dropped:
            raise Stopped("Another model was chosen.")
        self.progress = progress
