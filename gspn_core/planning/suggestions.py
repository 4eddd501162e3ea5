"""What a person may change so that a run fits, or ends today: planned before it is offered. Pure.

How a stage is computed (guidance in turn, smaller tiles, eight-bit weights) is not suggested: where that
helps, a plan has it already.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from gspn_core.errors import BadSetting
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.settings import Settings

# A stage that takes longer is allowed, and said to.
LONG_SECONDS = 1800.0
MOST_REMEDIES = 3

Reason = Literal["memory", "time"]


@dataclass(frozen=True, kw_only=True)
class FitIssue:
    """The first stage that does not fit into the memory, or else the first that takes very long."""

    stage: StagePlan
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One setting's other value, with which no stage is in trouble; seconds and peak_bytes of that run."""

    name: str
    value: Any
    seconds: float | None
    peak_bytes: int


def is_long(stage: StagePlan) -> bool:
    """Tell whether a stage takes so long that one may want to know of another way."""
    return stage.seconds is not None and stage.seconds > LONG_SECONDS


def find_fit_issue(plan: CascadePlan) -> FitIssue | None:
    """Return what is wrong with a plan, None where nothing is; what cannot run comes before what is long."""
    if plan.too_large is not None:
        return FitIssue(stage=plan.too_large, reason="memory")
    long = next(filter(is_long, plan.stages), None)
    return None if long is None else FitIssue(stage=long, reason="time")


def find_suggestions(
    settings: Settings, plan: CascadePlan, card: ModelCard, replan: Callable[[Settings], CascadePlan]
) -> tuple[Suggestion, ...]:
    """Return what would help, at most three, none where nothing is wrong or no single change helps.

    plan: of these settings; replan: makes the plan of others. What helps against both memory and time comes
    before what makes a run fit that then takes long.
    """
    trouble = find_fit_issue(plan)
    if trouble is None:
        return ()
    whole, in_part = [], []
    for name, value in _candidates(plan, card, trouble.reason):
        if any(remedy.name == name == "target" for remedy in whole):
            continue
        try:
            changed = replan(dataclasses.replace(settings, **{name: value}))
        except BadSetting:
            continue
        left = find_fit_issue(changed)
        if left is None:
            whole.append(_remedy(name, value, changed))
        elif left.reason == "time" and trouble.reason == "memory":
            in_part.append(_remedy(name, value, changed))
    return tuple((whole or in_part)[:MOST_REMEDIES])


def _candidates(plan: CascadePlan, card: ModelCard, reason: Reason) -> Iterator[tuple[str, Any]]:
    """Yield other values of settings that may help, those first that change the picture least."""
    settings = plan.settings
    yield from (("mixer", mixer) for mixer in card.mixers if mixer != settings.mixer)
    if reason == "time":
        if settings.dilated_min_weight < 1:
            yield "dilated_min_weight", 1.0
        if settings.guidance_stop > 0.5 and settings.guidance_scale > 1:
            yield "guidance_stop", 0.5
    yield from (("target", px) for px in reversed(card.targets) if px < settings.target)


def _remedy(name: str, value: Any, plan: CascadePlan) -> Suggestion:
    seconds = [stage.seconds for stage in plan.stages]
    return Suggestion(
        name=name,
        value=value,
        seconds=None if None in seconds else sum(seconds),
        peak_bytes=max(stage.peak_bytes or 0 for stage in plan.stages),
    )
