"""An engine that is loaded in the background, so that the page answers before the model is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gspn_core.errors import GspnError, ModelUnavailable, Stopped
from gspn_core.events import Calibrated, Event, ModelProgress, StepWeights
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.runs.calibration import Calibration, Measurable
from gspn_core.serving.zerogpu import Decorator, run_on_zerogpu
from gspn_core.settings import Settings

STOP_POLL_SECONDS = 0.2

OnProgress = Callable[[ModelProgress], None]
Load = Callable[[OnProgress], tuple[Any, str]]


class EngineHost:
    """Loads an engine in a thread of its own and stands in for it until it is there.

    Args:
        card: The model that is loaded.
        load: Returns the engine and a few words for the machine it runs on; calls back with its progress
            and raises GspnError.
        planned_seconds: Returns what a run takes, None if unknown; asked on ZeroGPU.
        on_timing: Called with each stage that was measured between runs.
        zerogpu: ZeroGPU's decorator, on a Space whose GPU is there for one call only; None elsewhere.
        timings_folder: Where measured times are kept; None measures nothing.
    """

    def __init__(
        self,
        card: ModelCard,
        load: Load,
        *,
        planned_seconds: Callable[[Settings], float | None] = lambda _: None,
        on_timing: Callable[[Calibrated], None] = lambda _: None,
        zerogpu: Decorator | None = None,
        timings_folder: Path | None = None,
    ) -> None:
        self._card = card
        self._load = load
        self._planned_seconds = planned_seconds
        self._on_timing = on_timing
        self._zerogpu = zerogpu
        self._timings_folder = timings_folder
        self._calibration: Calibration | None = None
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
        except GspnError as error:
            self.error = error
        except Exception as error:
            self.error = ModelUnavailable(f"the model could not be read ({type(error).__name__}: {error}).")
        finally:
            self._settled.set()
            if self._dropped:
                self.drop()

    def drop(self) -> None:
        """Release the model; end loading it at its next progress."""
        self._dropped = True
        if self._calibration is not None:
            self._calibration.close()
        self._engine = self._run = self._calibration = None

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the model is loaded or has failed to load; return whether that is so."""
        return self._settled.wait(timeout_seconds)

    def machine(self) -> str | None:
        """Return what the model runs on, None while it is being loaded."""
        return self._machine if self._settled.is_set() else None

    def measured(self) -> int | None:
        """Return how many timings of this machine are known, None once no more will be before a run."""
        if not self._settled.is_set():
            return 0
        calibration = self._calibration
        return None if calibration is None else calibration.measured

    def plan(self, settings: Settings) -> CascadePlan:
        """Return what a run would do; the card is enough for that."""
        engine = self._engine
        return make_plan(settings, self._card) if engine is None else engine.plan(settings)

    def weights(self, settings: Settings) -> tuple[tuple[StepWeights, ...], ...] | None:
        """Return what each step of each stage would mix; None while the model is being loaded."""
        return self._engine.weights(settings) if self._engine is not None else None

    def model_calls(self, stage: StagePlan) -> int | None:
        """Return how many times a stage evaluates the UNet; None while the model is being loaded."""
        return self._engine.model_calls(stage) if self._engine is not None else None

    def run(self, settings: Settings, should_stop: Callable[[], bool], **options: Any) -> Iterator[Event]:
        """Wait for the model, then yield a run's events.

        Raises:
            Stopped: should_stop returned true while the model was being loaded.
            ModelUnavailable: The model could not be loaded.
        """
        while not self.wait(STOP_POLL_SECONDS):
            if should_stop():
                raise Stopped("The run was stopped while the model was being read.")
        if self.error is not None:
            raise self.error
        yield from self._run(settings, should_stop, **options)

    def measure_mixers(self, should_stop: Callable[[], bool]) -> Iterator[Calibrated]:
        """Yield what stages cost here with every mixer.

        Raises:
            ModelUnavailable: The model is not loaded.
        """
        if self._engine is None:
            raise self.error or ModelUnavailable("The model is still being read; measure when it is there.")
        timings = self._engine.measure_mixers(should_stop)
        calibration = self._calibration
        yield from timings if calibration is None else calibration.alone(timings)

    def _run_of(self, engine: Any) -> Callable[..., Iterator[Event]]:
        if self._zerogpu is not None:
            return run_on_zerogpu(engine.run, self._zerogpu, self._planned_seconds)
        if self._timings_folder is None or not isinstance(engine, Measurable):
            return engine.run
        self._calibration = Calibration(engine, self._timings_folder, told=self._on_timing)
        self._calibration.start()
        return self._calibration.run

    def _take_progress(self, progress: ModelProgress) -> None:
        if self._dropped:
            raise Stopped("Another model was chosen.")
        self.progress = progress
