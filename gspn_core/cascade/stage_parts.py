"""What a run teaches of the machine's pace: a stage's events in, its seconds in three parts out."""

from __future__ import annotations

from gspn_core.events import Event, StageDone, StageStarted, StepDone
from gspn_core.planning.plan import pair_calls
from gspn_core.planning.types import MemoryOptions, Pace


class PaceKeeper:
    """Follow a run's events; `follow` returns a stage's pace when it ends, None at all other events.

    A stage of one step, and one that was computed in a slower way than the fastest, teaches nothing.
    """

    def __init__(self) -> None:
        self._started: StageStarted | None = None
        self._first = self._last = 0.0

    def follow(self, event: Event) -> Pace | None:
        """Take in an event."""
        if isinstance(event, StageStarted):
            self._started, self._first, self._last = event, 0.0, 0.0
        elif isinstance(event, StepDone):
            self._first = self._first or event.seconds
            self._last = event.seconds
        elif isinstance(event, StageDone):
            return self._pace(event)
        return None

    def _pace(self, done: StageDone) -> Pace | None:
        started, stage = self._started, done.stage
        if started is None or stage.steps < 2 or stage.choices != MemoryOptions():
            return None
        dilated = [weights.dilated for weights in started.weights]
        first_calls, calls = (pair_calls(steps, stage.guided_steps, dilated) for steps in (1, stage.steps))
        call = (self._last - self._first) / (calls - first_calls)
        return Pace(
            mixer=stage.settings.mixer,
            height=stage.size.height,
            width=stage.size.width,
            head_seconds=max(0.0, self._first - call * first_calls),
            # Half a pair takes a little more than half the time of a pair.
            call_seconds=call * (1.0 if stage.guided_steps else 0.5 / 0.55),
            tail_seconds=max(0.0, done.seconds - self._last),
        )
