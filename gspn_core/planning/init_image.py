"""The stage at which an init image enters a run, and the aspect of the run. Pure arithmetic."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from gspn_core.errors import BadSetting
from gspn_core.extension import NO_MARGINS, Margins, parse_extension
from gspn_core.planning.types import ModelCard, Size
from gspn_core.setting_values import MAX_ASPECT, start_size
from gspn_core.settings import Settings

# Sides are rounded to multiples, so that the area of a finished stage may be larger than its target squared.
_LARGEST_SHARE = 1.25


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
    above it, one that is extended, or of which a region is redrawn, at the nearest of all, and one that is
    drawn again as a whole at the model's base size.
    """
    _check_redrawn(settings)
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
        nearest = kept or settings.region or settings.extend
        return min(allowed, key=lambda px: abs(math.log(px / side))) if nearest else allowed[0]
    if settings.start_px not in allowed:
        offered = ", ".join(map(str, allowed))
        raise BadSetting(
            "start_px", f"start_px may be {offered} at a target of {target} px, got {settings.start_px}."
        )
    return settings.start_px


def kept_size(settings: Settings, card: ModelCard, first_px: int) -> Size | None:
    """Return the init image's own size if it enters in it, so that what is not drawn keeps its bytes.

    That is where a part of it is drawn, the model has such sizes, and no other stage is nearer to it.
    """
    if not (settings.region or settings.extend):
        return None
    size = Size(*start_size(settings.start))
    # Without the run's target, so that one that goes on to a higher one keeps its first stage.
    fits = 0.5 <= size.pixels / first_px**2 <= _LARGEST_SHARE
    is_multiple = not (size.height % card.size_multiple or size.width % card.size_multiple)
    return size if fits and is_multiple else None


def extension_margins(
    settings: Settings, card: ModelCard, entry: Size, first_px: int, target: int
) -> Margins:
    """Return what is added at the sides of an init image, in px.

    The picture itself enters as one of which a region is redrawn.

    Args:
        settings: of the run.
        card: of the model.
        entry: the size at which the picture enters.
        first_px: the target that this is the stage of.
        target: of the run.

    Raises:
        BadSetting: the canvas would be longer than 4:1, or larger than the model reaches.
    """
    extension = parse_extension(settings.extend)
    if extension is None:
        return NO_MARGINS
    margins = extension.margins(entry.height, entry.width, card.size_multiple)
    height, width = dataclasses.astuple(entry.extended(margins))
    if max(height, width) > MAX_ASPECT * min(height, width):
        sides = "left and right" if width > height else "top and bottom"
        raise BadSetting(
            "extend",
            f"extend makes the picture {width}×{height} px, longer than 4:1; add less at the {sides}.",
        )
    side, most = math.sqrt(height * width), card.max_target_px
    if side * target > most * first_px:
        ratio = target // first_px
        fitting = [px for px in card.targets if px < target and side / first_px * px <= most]
        remedy = f"choose a target of {fitting[-1]} or add less" if fitting else "add less"
        raise BadSetting(
            "extend",
            f"extend makes the picture {width * ratio}×{height * ratio} px at a target of {target}, more "
            f"than the {most}×{most} px that {card.title} reaches; {remedy}.",
        )
    return margins


def _check_redrawn(settings: Settings) -> None:
    """Raise BadSetting where a part is to be drawn of an image that there is not, or that is kept."""
    if settings.start and settings.start_strength:
        return
    if settings.region:
        raise BadSetting(
            "region",
            "region is a part of an init image that is redrawn; give one, set start_strength above 0, or "
            "leave region empty.",
        )
    if settings.extend:
        raise BadSetting(
            "extend",
            "extend adds parts to an init image, which are drawn; give one, set start_strength above 0, or "
            "leave extend empty.",
        )
