"""Run the engine in a process that is lent a GPU for the time of one call, as ZeroGPU does.

Such a call forks: its arguments and each event are pickled, an Event of threading does not cross, and an
error arrives as the name of its class. So errors travel as data, and a stop closes the generator, which the
lender passes on after the next event.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from gspn_core.errors import GspnError, ModelUnavailable, Stopped
from gspn_core.events import Event
from gspn_core.settings import Settings

# What a lender asks for beyond the planned seconds: the fork, the weights' way to the card, a busy card.
OVERHEAD_SECONDS = 20
MARGIN = 1.5
LEAST_SECONDS, MOST_SECONDS = 30, 300
# Where nobody knows how long a run will take; above it visitors without an account are refused.
UNKNOWN_SECONDS = 120

Run = Callable[..., Iterator[Event]]
Lend = Callable[..., Callable[[Callable], Callable]]


@dataclass(frozen=True)
class Failure:
    """An error on its way between two processes."""

    error: GspnError


def seconds_to_ask(planned: float | None) -> int:
    """Return for how long a GPU is asked for, given the seconds that a run is planned to take."""
    wanted = OVERHEAD_SECONDS + MARGIN * planned if planned is not None else UNKNOWN_SECONDS
    return int(min(MOST_SECONDS, max(LEAST_SECONDS, wanted)))


def run_on_lent(run: Run, lend: Lend, planned_seconds: Callable[[Settings], float | None]) -> Run:
    """Return `run` as it is called from a process that has no GPU of its own.

    lend: ZeroGPU's decorator, called with `duration=`; planned_seconds: returns a run's seconds, None where
    nobody knows. The result raises what `run` raises; what the lender itself refuses, such as a quota, it
    raises as ModelUnavailable in the lender's words.
    """

    def duration(settings: Settings, _options: Mapping[str, Any]) -> int:
        return seconds_to_ask(planned_seconds(settings))

    @lend(duration=duration)
    def there(settings: Settings, options: Mapping[str, Any]) -> Generator[Event | Failure, None, None]:
        try:
            yield from run(settings, _never, **options)
        except GspnError as error:
            yield Failure(error)
        except Exception as error:
            yield Failure(GspnError(f"the run failed on the GPU ({type(error).__name__}: {error})."))

    @functools.wraps(run)
    def here(settings: Settings, should_stop: Callable[[], bool], **options: Any) -> Iterator[Event]:
        with closing(there(settings, options)) as events:
            for event in _refusals_said(events):
                if isinstance(event, Failure):
                    raise event.error
                yield event
                if should_stop():
                    raise Stopped("The run was stopped; finished stages are kept.")

    return here


def _never() -> bool:
    return False


def _refusals_said(events: Iterator[Event | Failure]) -> Iterator[Event | Failure]:
    """Yield the events; raise in a sentence what the lender itself says against the call."""
    try:
        yield from events
    except GspnError:
        raise
    except Exception as error:
        told = re.sub(r"<[^>]*>", "", str(getattr(error, "message", error))).strip().rstrip(".")
        told = told or type(error).__name__
        raise ModelUnavailable(
            f"no GPU was lent for this run: {told}; try again later or at a smaller target."
        ) from error
