"""The stage at which an init image enters a run, and the aspect of the run. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gspn_core.errors import BadSetting
from gspn_core.setting_values import start_size
from gspn_core.settings import Settings


def effective_aspect(settings: Settings) -> str:
    """Return the aspect of the init image if there is one, else that of the settings."""
    if not settings.start:
        return settings.aspect
    height, width = start_size(settings.start)
    divisor = math.gcd(height, width)
    return f"{width // divisor}:{height // divisor}"


def first_target(settings: Settings, targets: Sequence[int], target: int) -> int:
    """Return the first stage of a run up to `target`, as one of a model's targets.

    Raises BadSetting where the init image cannot enter at the stage that was asked for.
    Without start_px, a picture that is kept enters at the stage nearest to its own size that has a stage
    above it, one of which a region is redrawn at the nearest of all, and one that is drawn again as a whole
    at the model's base size.
    """
    if settings.region and not (settings.start and settings.start_strength):
        raise BadSetting(
            "region",
            "region is a part of an init image that is redrawn; give one, set start_strength above 0, or "
            "leave region empty.",
        )
    if not settings.start:
        if settings.start_strength:
            raise BadSetting(
                "start_strength",
                f"start_strength is {settings.start_strength:g} and there is no picture to start from; "
                "give one or set it to 0.",
            )
        if settings.start_px:
            raise BadSetting(
                "start_px",
                f"start_px is {settings.start_px} and there is no picture to start from; give one.",
            )
        return targets[0]
    kept = settings.start_strength == 0
    if kept and settings.refiner != "none":
        raise BadSetting(
            "refiner",
            "refiner works on a first stage that is drawn; set start_strength above 0 or choose none.",
        )
    below = [px for px in targets if px < target]
    if kept and not below:
        raise BadSetting(
            "target",
            f"target is {target} px, the first stage, and leaves no stage to upscale the picture; "
            f"choose {targets[1] if len(targets) > 1 else 'another model'}.",
        )
    allowed = below if kept else [*below, target]
    if not settings.start_px:
        side = math.sqrt(math.prod(start_size(settings.start)))
        nearest = kept or settings.region
        return min(allowed, key=lambda px: abs(math.log(px / side))) if nearest else allowed[0]
    if settings.start_px not in allowed:
        offered = ", ".join(map(str, allowed))
        raise BadSetting(
            "start_px", f"start_px may be {offered} at a target of {target} px, got {settings.start_px}."
        )
    return settings.start_px
