"""Which tiles the run to come would redraw, drawn by picture.js over the picture that it would enlarge."""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from gspn_core.errors import GspnError
from gspn_core.kinds.tiles import Crop, Tiling, drawn_crops
from gspn_core.planning.types import CascadePlan, Size
from gspn_core.runs.queue import RunQueue

# A larger picture takes too long to look at while a slider moves.
MOST_PX = 2048
_KEPT = 64


def tile_map(plan: CascadePlan | None, jobs: RunQueue, job_id: str | None) -> dict[str, Any] | None:
    """Return the tiles of a plan's first stage in tiles, over a picture of the size of the stage before it.

    Args:
        plan: The run's to come, None where there is none.
        jobs: Has the pictures.
        job_id: The run on the screen, None for none; then the init image is looked at.

    Returns:
        The picture's `width` and `height` in px, and `boxes` as shares of its sides, each left, top, width
        and height. None where no stage is in tiles, or there is no picture that it would start from.
    """
    stage = next((stage for stage in plan.stages if stage.tiling is not None), None) if plan else None
    if stage is None:
        return None
    before = plan.stages[stage.index - 1].size
    path = _picture(plan, jobs, job_id, before)
    if path is None or max(before.height, before.width) > MOST_PX:
        return None
    try:
        crops = _crops(path, path.stat().st_mtime_ns, stage.tiling, before)
    except (OSError, ValueError):
        return None
    height, width = stage.size.height, stage.size.width
    boxes = [
        [round(share, 5) for share in (left / width, top / height, wide / width, tall / height)]
        for top, left, tall, wide in crops
    ]
    return {"width": before.width, "height": before.height, "boxes": boxes}


@functools.lru_cache(maxsize=_KEPT)
def _crops(path: Path, _changed: int, tiling: Tiling, before: Size) -> tuple[Crop, ...]:
    with Image.open(path) as image:
        return drawn_crops(image.convert("RGB"), tiling, (before.height, before.width))


def _picture(plan: CascadePlan, jobs: RunQueue, job_id: str | None, size: Size) -> Path | None:
    """Return the file of the picture of that size that the screen shows, None where there is none."""
    if not job_id:
        return jobs.start_proxy(plan.settings.start) if plan.settings.start else None
    with suppress(GspnError):
        for stage in jobs.view(job_id).stages:
            if stage.png_path and (stage.height, stage.width) == (size.height, size.width):
                return Path(stage.png_path)
    return None
