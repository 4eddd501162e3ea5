"""The run to come, from the form as it stands: one plan for all that the page says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.planning.suggestions import Suggestion, find_suggestions
from gspn_core.planning.together import batch_peak_bytes
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.prompts import TextLength
from gspn_core.runs.batch import check_differ
from gspn_core.runs.instant import Obstacle, fast_steps, obstacle, picture_key
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.stage_cache import CacheHit
from gspn_core.settings import FIELD_NAMES, STARTING, Settings
from ui.form.form import initial_values, is_open, settings_from
from ui.form.presets import preset_of
from ui.shared.strings import labels

# What a reset leaves alone: what the picture is to show, and of which noise or image.
KEPT = frozenset({"prompt", "seed", *STARTING})


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run of the form would be.

    plan: None where the form holds what cannot be run. hits: the stages that it would take from the cache.
    suggestions: what would help a stage that does not fit or takes very long. changed: the settings that the
    form holds another value of than at first, the prompt, the seed and an init image aside. preset: the one
    that the form holds, "" for none. picture_key: see `gspn_core.runs.instant`, "" where prompt or seed are
    unfinished. obstacle: why the first stage is not drawn while the form changes; fast_steps: with how many
    steps a slow one would be. pictures: how many the run draws; of more than one the first stages alone, of
    which `cached` need not be drawn. refusal: why that many cannot be. texts: how much of each text is read,
    () where prompt or seed are unfinished.
    """

    plan: CascadePlan | None = None
    hits: tuple[CacheHit, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    changed: tuple[str, ...] = ()
    preset: str = ""
    picture_key: str = ""
    obstacle: Obstacle | None = None
    fast_steps: int | None = None
    pictures: int = 1
    cached: int = 0
    refusal: str = ""
    texts: tuple[TextLength, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Return what the stages take that are not cached, None while that is not known."""
        return None if self.plan is None else _sum([stage.seconds for stage in self._to_run()])

    @property
    def peak_bytes(self) -> int | None:
        """Return the most memory that one of those stages takes, None while that is not known."""
        if self.plan is not None and self.pictures > 1:
            left = self.pictures - self.cached
            return batch_peak_bytes(self.plan, left) if left else None
        return max((stage.peak_bytes or 0 for stage in self._to_run()), default=0) or None

    def _to_run(self) -> list[StagePlan]:
        if self.plan is not None and self.pictures > 1:
            return [self.plan.stages[0]] * (self.pictures - self.cached)
        cached = {hit.stage for hit in self.hits}
        return [stage for stage in (self.plan.stages if self.plan else ()) if stage.index not in cached]


def forecast(values: Sequence[Any], card: ModelCard, jobs: RunQueue, pictures: int = 1) -> Forecast:
    """Return what a run of form values would be.

    With an unfinished prompt or seed the rest is shown all the same: neither changes the stages.

    Args:
        values: What the controls hold, in the order of `Form.inputs`.
        card: The model's.
        jobs: Plans runs and knows which stages are cached.
        pictures: How many pictures the run draws.
    """
    hits: tuple[CacheHit, ...] = ()
    cached, refusal, key = 0, "", ""
    texts: tuple[TextLength, ...] = ()
    changed, preset = changed_settings(values, card), preset_of(values, card)
    settings = None
    try:
        settings = settings_from(values)
        plan = jobs.plan(settings)
        texts = plan.texts
        key = picture_key(plan, seed_drawn=settings.seed is None)
        if settings.seed is not None:
            hits = jobs.reusable(plan)
    except BadSetting:
        try:
            plan = jobs.plan(settings_from(_without_texts(values, card)))
        except BadSetting:
            return Forecast(changed=changed, preset=preset)
    try:
        check_differ(plan, pictures)
        if pictures > 1 and settings is not None and settings.seed is not None:
            cached = jobs.batches.cached(settings, pictures)
    except BadSetting as refused:
        refusal = str(refused)
    suggestions = find_suggestions(plan.settings, plan, card, jobs.plan)
    why = obstacle(plan)
    return Forecast(
        plan=plan,
        hits=hits,
        suggestions=suggestions,
        changed=changed,
        preset=preset,
        picture_key=key,
        obstacle=why,
        fast_steps=fast_steps(plan, jobs.plan) if why == "slow" else None,
        pictures=pictures,
        cached=cached,
        refusal=refusal,
        texts=texts,
    )


def needed(settings: Settings, jobs: RunQueue) -> tuple[float | None, int | None]:
    """Return the seconds and the peak bytes of what a run of settings would not take from the cache.

    Raises:
        BadSetting: They cannot be run.
    """
    plan = jobs.plan(settings)
    ahead = Forecast(plan=plan, hits=jobs.reusable(plan))
    return ahead.seconds, ahead.peak_bytes


def changed_settings(values: Sequence[Any], card: ModelCard) -> tuple[str, ...]:
    """Return the settings of which a form holds another value than at first."""
    first = initial_values(card)
    held = {name: value for name, value in zip(FIELD_NAMES, values, strict=True) if name not in KEPT}
    return tuple(n for n, value in held.items() if not (is_open(n, value) or _alike(value, first[n])))


def _alike(one: Any, other: Any) -> bool:
    try:
        return float(one) == float(other)
    except (TypeError, ValueError, OverflowError):
        return (one or "") == (other or "")


def _sum(values: Sequence[float | None]) -> float | None:
    return None if not values or None in values else sum(values)


def _without_texts(values: Sequence[Any], card: ModelCard) -> list[Any]:
    prompt = card.examples[0] if card.examples else labels.PLACEHOLDERS["prompt"]
    given = dict(zip(FIELD_NAMES, values, strict=True))
    return list({**given, "prompt": prompt, "negative_prompt": "", "seed": None}.values())
