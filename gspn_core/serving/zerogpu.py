"""Run the engine in a process that has a GPU for the time of one call, as ZeroGPU does.

Such a call forks: its arguments and each event are pickled, a threading.Event does not cross, and an error
arrives as the name of its class. So errors travel as data, and a stop closes the generator, which ZeroGPU
passes on after the next event.
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
from gspn_core.planning.types import CascadePlan

# Requested in addition to the planned seconds: for the fork, the transfer of the weights, a busy card.
OVERHEAD_SECONDS = 20
MARGIN = 1.5
LEAST_SECONDS, MOST_SECONDS = 30, 300
# When a run's seconds are unknown; with more than this, visitors without an account are refused.
UNKNOWN_SECONDS = 120

Run = Callable[..., Iterator[Event]]
Decorator = Callable[..., Callable[[Callable], Callable]]


@dataclass(frozen=True)
class Failure:
    """An error on its way between two processes."""

    error: GspnError


def seconds_to_request(planned: float | None) -> int:
    """Return for how many seconds a GPU is requested, given a run's planned seconds, None if unknown."""
    wanted = OVERHEAD_SECONDS + MARGIN * planned if planned is not None else UNKNOWN_SECONDS
    return int(min(MOST_SECONDS, max(LEAST_SECONDS, wanted)))


def run_on_zerogpu(
    run: Run, decorator: Decorator, planned_seconds: Callable[[CascadePlan], float | None]
) -> Run:
    """Return `run` as it is called from a process that has no GPU of its own.

    Args:
        run: The engine's run.
        decorator: ZeroGPU's decorator, called with `duration=`.
        planned_seconds: Returns the seconds that a plan takes, None if unknown.

    Returns:
        A function that raises what `run` raises; what ZeroGPU itself refuses, such as a quota, it raises as
        ModelUnavailable in ZeroGPU's words.
    """

    def duration(plan: CascadePlan, options: Mapping[str, Any]) -> int:
        planned = planned_seconds(plan)
        pictures = 1 + len(options.get("more_seeds", ()))
        return seconds_to_request(None if planned is None else planned * pictures)

    @decorator(duration=duration)
    def on_gpu(plan: CascadePlan, options: Mapping[str, Any]) -> Generator[Event | Failure, None, None]:
        try:
            yield from run(plan, _never, **options)
        except GspnError as error:
            yield Failure(error)
        except Exception as error:
            yield Failure(GspnError(f"the run failed on the GPU ({type(error).__name__}: {error})."))

    @functools.wraps(run)
    def run_forked(plan: CascadePlan, should_stop: Callable[[], bool], **options: Any) -> Iterator[Event]:
        with closing(on_gpu(plan, options)) as events:
            for event in _refusals_named(events):
                if isinstance(event, Failure):
                    raise event.error
                yield event
                if should_stop():
                    raise Stopped("The run was stopped; finished stages are kept.")

    return run_forked


def _never() -> bool:
    return False


def _refusals_named(events: Iterator[Event | Failure]) -> Iterator[Event | Failure]:
    """Yield the events; raise what ZeroGPU itself refuses as a sentence."""
    try:
        yield from events
    except GspnError:
        raise
    except Exception as error:
        refusal = re.sub(r"<[^>]*>", "", str(getattr(error, "message", error))).strip().rstrip(".")
        refusal = refusal or type(error).__name__
        raise ModelUnavailable(
            f"ZeroGPU gave this run no GPU: {refusal}; try again later or at a smaller target."
        ) from error
