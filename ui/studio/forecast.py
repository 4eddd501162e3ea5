"""The run to come, from the form as it stands: one plan for all that the page says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.planning.suggestions import Suggestion, find_suggestions
from gspn_core.planning.types import CascadePlan, ModelCard
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.stage_cache import CacheHit
from gspn_core.settings import FIELD_NAMES
from ui.form.form import settings_from
from ui.shared.strings import labels


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run of the form would be.

    plan: None where the form holds what cannot be run. hits: the stages that it would take from the cache.
    suggestions: what would help a stage that does not fit or takes very long.
    """

    plan: CascadePlan | None = None
    hits: tuple[CacheHit, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()


def forecast(values: Sequence[Any], card: ModelCard, jobs: RunQueue) -> Forecast:
    """Return what a run of form values would be.

    With an unfinished prompt or seed the rest is shown all the same: neither changes the stages.

    Args:
        values: What the controls hold, in the order of `Form.inputs`.
        card: The model's.
        jobs: Plans runs and knows which stages are cached.
    """
    hits: tuple[CacheHit, ...] = ()
    try:
        settings = settings_from(values)
        plan = jobs.plan(settings)
        if settings.seed is not None:
            hits = jobs.reusable(plan)
    except BadSetting:
        try:
            plan = jobs.plan(settings_from(_without_texts(values, card)))
        except BadSetting:
            return Forecast()
    return Forecast(plan=plan, hits=hits, suggestions=find_suggestions(plan.settings, plan, card, jobs.plan))


def _without_texts(values: Sequence[Any], card: ModelCard) -> list[Any]:
    prompt = card.examples[0] if card.examples else labels.PLACEHOLDERS["prompt"]
    given = dict(zip(FIELD_NAMES, values, strict=True))
    return list({**given, "prompt": prompt, "negative_prompt": "", "seed": None}.values())
