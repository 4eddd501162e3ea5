"""Instant pictures: the first stage of what a form holds, drawn between runs while a visitor changes it.

One thread draws one picture at a time. It delays a run by a step at most and writes no file; a visitor's new
request ends the one before. A run of the same settings takes the finished picture from the stage cache.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Literal

from PIL.Image import Image

from gspn_core.errors import Busy, GspnError, Stopped
from gspn_core.events import StageDone
from gspn_core.planning.keys import stage_key
from gspn_core.planning.types import CascadePlan, StagePlan
from gspn_core.runs.archive import owner_of
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.run_state import first_stage_of
from gspn_core.runs.stage_cache import StageCache
from gspn_core.runs.worker import Worker
from gspn_core.settings import MAX_SEED, Settings

# What a first stage is predicted to take at most where it is drawn while the form changes.
MOST_FIRST_SECONDS = 2.0
MOST_EACH_MINUTE = 240
# How long the device is asked for, which a measurement in the background gives back within a block.
_DEVICE_SECONDS = 1.0
_POLL_SECONDS = 0.02
# The longest that a request waits for its picture, however wrong the prediction was.
_WAIT_SECONDS = 20.0
_MOST_VISITORS = 256
_log = logging.getLogger(__name__)

Obstacle = Literal["start", "control", "memory", "unknown", "slow"]
# busy: a run, a measurement or another visitor has the device. superseded: by a newer request.
Refusal = Literal["off", "often", "busy", "superseded", "failed"]


@dataclass(frozen=True, kw_only=True)
class InstantPicture:
    """A finished first stage.

    seconds: from the request to the picture, None for one that was there already. seed_drawn: its seed was
    left open.
    """

    image: Image
    stage: StagePlan
    seconds: float | None
    seed_drawn: bool


@dataclass(kw_only=True, eq=False)
class _Request:
    owner: str
    plan: CascadePlan
    stop: threading.Event = field(default_factory=threading.Event)
    outcome: Image | Refusal | None = None


@dataclass(kw_only=True)
class _Visitor:
    """seed: of pictures whose seed is open. shown: the key of the last of them, "" once a run has used it."""

    seed: int
    shown: str = ""
    asked: deque[float] = field(default_factory=deque)


def obstacle(plan: CascadePlan) -> Obstacle | None:
    """Return why a plan's first stage cannot be drawn while the form changes, None if it can."""
    first = plan.stages[0]
    if plan.settings.start:
        return "start"
    if first.condition is not None:
        return "control"
    if not first.fits:
        return "memory"
    if first.seconds is None:
        return "unknown"
    return "slow" if first.seconds > MOST_FIRST_SECONDS else None


def picture_key(plan: CascadePlan, *, seed_drawn: bool) -> str:
    """Return what changes with a plan's first picture; a drawn seed, another in each plan, counts as 0."""
    first = replace(plan.stages[0], key="")
    if seed_drawn:
        first = replace(first, settings=replace(first.settings, seed=0))
    return stage_key(f"{seed_drawn}", first)


def fast_steps(plan: CascadePlan, replan: Callable[[Settings], CascadePlan]) -> int | None:
    """Return the most steps with which a slow first stage is fast enough, None if no number of steps is.

    replan: makes the plan of settings; what is returned has been planned.
    """
    steps = plan.stages[0].num_inference_steps

    def seconds(count: int) -> float:
        changed = replan(replace(plan.settings, num_inference_steps=count))
        return changed.stages[0].seconds or math.inf

    whole, one = seconds(steps), seconds(1)
    if one > MOST_FIRST_SECONDS or whole <= one:
        return None
    count = 1 + int((MOST_FIRST_SECONDS - one) / (whole - one) * (steps - 1))
    return next((n for n in (count, count - 1) if n >= 1 and seconds(n) <= MOST_FIRST_SECONDS), 1)


class InstantPictures:
    """Draws the first stage of plans while no run uses or waits for the device. Thread-safe.

    Args:
        finished: where pictures are kept for runs to take.
        plan: makes the plan of settings.
        device: reserves an idle worker for a `with` block, or raises Busy.
        is_busy: returns whether a run waits, or every worker has one.
    """

    def __init__(
        self,
        finished: StageCache,
        plan: Callable[[Settings], CascadePlan],
        device: Callable[[], AbstractContextManager[Worker]],
        is_busy: Callable[[], bool],
    ) -> None:
        self._finished, self._plan = finished, plan
        self._device, self._is_busy = device, is_busy
        self._changed = threading.Condition(OrderedLock("instant"))
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()
        self._current: _Request | None = None
        self._next: _Request | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def is_wanted(self) -> bool:
        """Return whether a picture is being drawn or waits, for which other work gives the device back."""
        with self._changed:
            return self._current is not None or self._next is not None

    def draw(self, settings: Settings, visitor: str, *, new_seed: bool = False) -> InstantPicture | Refusal:
        """Return the first picture of settings, or why there is none; returns at once if others are served.

        Args:
            settings: with an open seed, the visitor's pictures all have the same one.
            visitor: the visitor's token.
            new_seed: whether to draw another one.

        Raises:
            BadSetting: the settings cannot be planned.
        """
        owner, began = owner_of(visitor), time.perf_counter()
        seed = self._admitted(owner, new_seed=new_seed)
        if seed is None:
            return "often"
        seed_drawn = settings.seed is None
        plan = self._plan(replace(settings, seed=seed) if seed_drawn else settings)
        if obstacle(plan) is not None:
            return "off"
        stage, seconds = plan.stages[0], None
        image = self._finished.picture(stage.key, stage.size)
        if image is None:
            image = self._drawn(_Request(owner=owner, plan=plan))
            seconds = time.perf_counter() - began
        if isinstance(image, str):
            return image
        if seed_drawn:
            self._set_shown(owner, stage.key)
        return InstantPicture(image=image, stage=stage, seconds=seconds, seed_drawn=seed_drawn)

    def plan_of(self, settings: Settings, visitor: str) -> CascadePlan | None:
        """Return the plan of a run that goes on from the visitor's last picture, with its drawn seed.

        None where the settings have a seed of their own or draw another picture, or a run has used that one.
        """
        with self._changed:
            held = self._visitors.get(owner_of(visitor))
        if settings.seed is not None or held is None or not held.shown:
            return None
        plan = self._plan(replace(settings, seed=held.seed))
        return plan if plan.stages[0].key == held.shown else None

    def set_used(self, visitor: str) -> None:
        """Note that a run has used a visitor's last picture: the next one draws a seed of its own."""
        self._set_shown(owner_of(visitor), "")

    def close(self, timeout_seconds: float = 10.0) -> None:
        """End the picture that is being drawn and wait for the thread."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout_seconds)

    def _admitted(self, owner: str, *, new_seed: bool) -> int | None:
        """Count a request and return the seed of the visitor's pictures, None for one request too many."""
        now = time.monotonic()
        with self._changed:
            held = self._visitors.setdefault(owner, _Visitor(seed=_drawn_seed()))
            self._visitors.move_to_end(owner)
            while len(self._visitors) > _MOST_VISITORS:
                self._visitors.popitem(last=False)
            while held.asked and now - held.asked[0] > 60.0:
                held.asked.popleft()
            if len(held.asked) >= MOST_EACH_MINUTE:
                return None
            held.asked.append(now)
            if new_seed:
                held.seed = _drawn_seed()
            return held.seed

    def _set_shown(self, owner: str, key: str) -> None:
        with self._changed:
            if owner in self._visitors:
                self._visitors[owner].shown = key

    def _drawn(self, request: _Request) -> Image | Refusal:
        """Return the picture of a request once the thread has drawn it, or why it has not."""
        if self._is_busy():
            return "busy"
        with self._changed:
            others = [held for held in (self._current, self._next) if held is not None]
            if self._closed or any(held.owner != request.owner for held in others):
                return "busy"
            for held in others:
                held.stop.set()
                held.outcome = held.outcome or "superseded"
            self._next = request
            self._start()
            self._changed.notify_all()
            self._changed.wait_for(lambda: request.outcome is not None or self._closed, _WAIT_SECONDS)
            # One that is given up is not drawn on.
            request.stop.set()
            return request.outcome or "busy"

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="gspn-instant", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self._closed)
                if self._closed:
                    return
                request = self._current = self._next
                self._next = None
            outcome = self._attempt(request)
            with self._changed:
                self._current = None
                request.outcome = request.outcome or outcome
                self._changed.notify_all()

    def _attempt(self, request: _Request) -> Image | Refusal:
        def should_stop() -> bool:
            return request.stop.is_set() or self._closed or self._is_busy()

        # Its key is that of the whole run's, whatever follows it.
        plan = first_stage_of(request.plan)
        try:
            with ExitStack() as stack:
                worker = self._reserve(stack, should_stop)
                with closing(worker.run(plan, should_stop, previews=False)) as events:
                    for event in events:
                        if isinstance(event, StageDone):
                            self._finished.keep(event)
                            return event.image
        except (Busy, Stopped):
            return "busy"
        except GspnError as error:
            _log.warning("An instant picture failed: %s", error)
        except Exception:
            _log.exception("An instant picture failed")
        return "failed"

    def _reserve(self, stack: ExitStack, should_stop: Callable[[], bool]) -> Worker:
        """Enter the block of an idle worker and return it; raise Busy once it is clear that there is none."""
        deadline = time.monotonic() + _DEVICE_SECONDS
        while not should_stop():
            try:
                return stack.enter_context(self._device())
            except Busy:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_SECONDS)
        raise Busy("The picture is not wanted any more.")


def _drawn_seed() -> int:
    return secrets.randbelow(MAX_SEED + 1)
