"""Changes of one setting with which a run fits, or takes less time; each is planned before it is offered.

Memory options (sequential guidance, smaller tiles, eight-bit weights) are not suggested: where they help,
the plan has them already. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from gspn_core.errors import BadSetting
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.settings import Settings

# A stage that takes longer is allowed, with a notice.
LONG_SECONDS = 1800.0
MOST_REMEDIES = 3

Reason = Literal["memory", "time"]


@dataclass(frozen=True, kw_only=True)
class FitIssue:
    """The first stage that does not fit into memory, or else the first that takes very long."""

    stage: StagePlan
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A value of one setting that leaves no fit issue, with the seconds and peak_bytes of that run."""

    name: str
    value: Any
    seconds: float | None
    peak_bytes: int


def is_long(stage: StagePlan) -> bool:
    """Return whether a stage takes so long that alternatives should be suggested."""
    return stage.seconds is not None and stage.seconds > LONG_SECONDS


def find_fit_issue(plan: CascadePlan) -> FitIssue | None:
    """Return a plan's fit issue, if any; a stage that cannot run comes before one that takes long."""
    if plan.too_large is not None:
        return FitIssue(stage=plan.too_large, reason="memory")
    long = next(filter(is_long, plan.stages), None)
    return None if long is None else FitIssue(stage=long, reason="time")


def find_suggestions(
    settings: Settings, plan: CascadePlan, card: ModelCard, replan: Callable[[Settings], CascadePlan]
) -> tuple[Suggestion, ...]:
    """Return up to MOST_REMEDIES changes of one setting that solve a plan's fit issue.

    Args:
        settings: as asked for.
        plan: of these settings.
        card: of the model.
        replan: makes the plan of other settings.

    Returns:
        Suggestions, those that change the picture least first; () without an issue, or where no single
        change helps. Changes after which a run fits but takes long count only if there are no others.
    """
    issue = find_fit_issue(plan)
    if issue is None:
        return ()
    whole, in_part = [], []
    for name, value in _candidates(plan, card, issue.reason):
        if any(remedy.name == name == "target" for remedy in whole):
            continue
        try:
            changed = replan(dataclasses.replace(settings, **{name: value}))
        except BadSetting:
            continue
        left = find_fit_issue(changed)
        if left is None:
            whole.append(_remedy(name, value, changed))
        elif left.reason == "time" and issue.reason == "memory":
            in_part.append(_remedy(name, value, changed))
    return tuple((whole or in_part)[:MOST_REMEDIES])


def _candidates(plan: CascadePlan, card: ModelCard, reason: Reason) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of settings that may help, those that change the picture least first."""
    settings = plan.settings
    yield from (("mixer", mixer) for mixer in card.mixers if mixer != settings.mixer)
    if reason == "time":
        if settings.dilated_min_weight < 1:
            yield "dilated_min_weight", 1.0
        if settings.guidance_stop > 0.5 and settings.guidance_scale > 1:
            yield "guidance_stop", 0.5
    if any(stage.condition is not None for stage in plan.stages):
        yield "control_scale", 0.0
    yield from (("target", px) for px in reversed(card.targets) if px < settings.target)


def _remedy(name: str, value: Any, plan: CascadePlan) -> Suggestion:
    seconds = [stage.seconds for stage in plan.stages]
    return Suggestion(
        name=name,
        value=value,
        seconds=None if None in seconds else sum(seconds),
        peak_bytes=max(stage.peak_bytes or 0 for stage in plan.stages),
    )
