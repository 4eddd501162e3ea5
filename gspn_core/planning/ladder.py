"""From a ladder to the kind and size of each stage. Pure arithmetic, without torch."""

from __future__ import annotations

import itertools

from gspn_core.errors import BadSetting
from gspn_core.kinds.kind import GIVEN_BY, StageKind
from gspn_core.kinds.registry import DEFAULT, find_kind, first_kind, following_kinds
from gspn_core.planning.types import ModelCard
from gspn_core.setting_values import ladder_rungs
from gspn_core.settings import Override, Settings


def rungs(
    settings: Settings, card: ModelCard, first_px: int, target: int
) -> tuple[tuple[StageKind, int], ...]:
    """Return the kind and the side in px of each stage of a run, from first_px to target; raise BadSetting.

    Sizes of `settings.ladder` that are not between first_px and target are left out.
    """
    asked = ladder_rungs(settings.ladder) if settings.ladder else tuple(("", px) for px in card.targets)
    for name, px in asked:
        if px not in card.targets:
            sizes = ", ".join(map(str, card.targets))
            raise BadSetting(
                "ladder", f"ladder: {card.title} has stages of {sizes} px, got {px}; name these."
            )
        offered = [kind for kind in following_kinds() if find_kind(kind).needs <= card.parts]
        if name and name not in following_kinds():
            raise BadSetting(
                "ladder",
                f"ladder: {name} is not a valid kind of stage here; there are: {', '.join(offered)}.",
            )
        if name and name not in offered:
            missing = sorted(find_kind(name).needs - card.parts)
            start = "".join(f"start with {GIVEN_BY[part]}, or " for part in missing if part in GIVEN_BY)
            raise BadSetting(
                "ladder",
                f"ladder: {card.title} has no {' or '.join(missing)} for {name}:{px}; {start}write {px} or "
                f"lanczos:{px}.",
            )
    kinds = {px: find_kind(name) if name else DEFAULT for name, px in asked}
    above = {*(px for px in kinds if first_px < px < target), *({target} if target > first_px else ())}
    stages = [(first_kind(settings), first_px), *((kinds.get(px, DEFAULT), px) for px in sorted(above))]
    for (_, before_px), (kind, px) in itertools.pairwise(stages):
        if kind.ratios is not None and px // before_px not in kind.ratios:
            ratios = " or ".join(map(str, sorted(kind.ratios)))
            raise BadSetting(
                "ladder",
                f"ladder: a stage of kind {kind.name} is {ratios} times as large as the one before, got "
                f"{px} px after {before_px}; put {px // min(kind.ratios)} before it.",
            )
    return tuple(stages)


def with_strengths(settings: Settings, card: ModelCard, first_px: int) -> tuple[Override, ...]:
    """Return a run's overrides plus the strengths that the model's card sets for single later stages."""
    asked = {(override.stage_px, override.name) for override in settings.overrides}
    kinds = {px: kind for kind, px in rungs(settings, card, first_px, settings.target)}
    own = [
        Override(stage_px=px, name="upscale_strength", value=strength)
        for px, strength in card.upscale_strengths
        if px in card.targets
        and px > first_px
        and (px, "upscale_strength") not in asked
        and kinds.get(px, DEFAULT).takes("upscale_strength")
    ]
    return (*settings.overrides, *own)
