from __future__ import annotations

import pickle
from functools import wraps

import pytest

from gspn_core.errors import BadSetting, GspnError, ModelUnavailable, OutOfMemory, Stopped
from gspn_core.planning.types import CascadePlan
from gspn_core.serving.zerogpu import (
    LEAST_SECONDS,
    MOST_SECONDS,
    UNKNOWN_SECONDS,
    run_on_zerogpu,
    seconds_to_request,
)
from gspn_core.settings import Settings

PLAN = CascadePlan(model="toy", settings=Settings(prompt="a lake", seed=1), stages=())


class Decorator:
    """Calls at once and pickles what passes; keeps what was requested and how often the far end closed."""

    def __init__(self, refuse: Exception | None = None) -> None:
        self.refuse, self.requested, self.closed = refuse, [], 0

    def __call__(self, *, duration):
        def decorate(task):
            @wraps(task)
            def call(*args):
                self.requested.append(duration(*args))
                if self.refuse is not None:
                    raise self.refuse
                far = task(*pickle.loads(pickle.dumps(args)))
                try:
                    for event in far:
                        yield pickle.loads(pickle.dumps(event))
                finally:
                    self.closed += 1

            return call

        return decorate


def run_of(*events, error: Exception | None = None):
    def run(plan, should_stop, **options):
        assert not should_stop()
        yield plan, options
        yield from events
        if error is not None:
            raise error

    return run


def test_the_plan_and_the_options_cross_and_every_event_comes_back():
    decorator, asked = Decorator(), []
    run = run_on_zerogpu(run_of("one", "two"), decorator, lambda of: asked.append(of) or 40.0)
    first, *rest = run(PLAN, lambda: False, finished=("a picture",))
    assert (asked, first) == ([PLAN], (PLAN, {"finished": ("a picture",)}))
    assert rest == ["one", "two"]
    assert decorator.requested == [80]
    assert decorator.closed == 1


@pytest.mark.parametrize("error", [OutOfMemory("too large."), BadSetting("target", "too large.")])
def test_an_error_of_ours_keeps_its_kind_and_words(error):
    run = run_on_zerogpu(run_of("one", error=error), Decorator(), lambda _: None)
    events = run(PLAN, lambda: False)
    assert [next(events), next(events)][1] == "one"
    with pytest.raises(type(error), match="too large") as caught:
        next(events)
    assert getattr(caught.value, "field", None) == getattr(error, "field", None)


def test_an_error_of_another_kind_is_named():
    run = run_on_zerogpu(run_of(error=ZeroDivisionError("by nothing")), Decorator(), lambda _: None)
    with pytest.raises(GspnError, match=r"failed on the GPU \(ZeroDivisionError: by nothing\)\.$"):
        list(run(PLAN, lambda: False))


def test_a_stop_closes_the_far_end_after_the_next_event():
    decorator, seen = Decorator(), []
    run = run_on_zerogpu(run_of(*range(100)), decorator, lambda _: None)
    with pytest.raises(Stopped):
        for event in run(PLAN, lambda: len(seen) >= 3):
            seen.append(event)
    assert len(seen) == 3
    assert decorator.closed == 1


def test_what_zerogpu_refuses_is_shown_without_its_markup():
    class Quota(Exception):
        message = "You have <b>exceeded</b> your GPU quota (60s left vs. 80s requested)."

    run = run_on_zerogpu(run_of(), Decorator(Quota("x")), lambda _: 40.0)
    with pytest.raises(ModelUnavailable, match=r"^ZeroGPU gave this run no GPU: You have exceeded your GPU"):
        list(run(PLAN, lambda: False))


@pytest.mark.parametrize(
    ("planned", "requested"),
    [(None, UNKNOWN_SECONDS), (0.0, LEAST_SECONDS), (100.0, 170), (10_000.0, MOST_SECONDS)],
)
def test_the_requested_seconds_follow_the_plan(planned, requested):
    assert seconds_to_request(planned) == requested
