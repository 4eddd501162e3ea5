"""The state of a study's cell, from its run: while that runs, and once it has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gspn_core.errors import GspnError
from gspn_core.images.png import read_picture
from gspn_core.runs.run import RunView, StageView

_log = logging.getLogger(__name__)

# The share of a prompt that a picture shows, None if unknown.
Adherence = Callable[[str, Image], float | None]


def going(view: RunView) -> dict[str, Any]:
    """Return the cell's fields while its run goes on."""
    steps = sum(stage.steps for stage in view.stages) or 1
    done = sum(stage.steps if stage.state == "done" else stage.step for stage in view.stages)
    finished = [stage.index for stage in view.stages if stage.proxy_path]
    return {"progress": done / steps, "stage": finished[-1] if finished else None}


def ended(view: RunView, *, stopped: bool, adherence: Adherence | None = None) -> dict[str, Any]:
    """Return the cell's fields once its run has ended; a cell that was stopped with its study waits again."""
    shown = going(view)
    if view.state == "done":
        saved = [stage.saved_seconds or 0.0 for stage in view.stages if stage.reused]
        made = [stage.seconds or 0.0 for stage in view.stages if not stage.reused]
        return {
            **shown,
            **_measured(view, adherence),
            "state": "done",
            "progress": 1.0,
            "seconds": sum(made) + sum(saved),
            "saved_seconds": sum(saved),
            "processor_seconds": _sum([stage.processor_seconds for stage in view.stages]),
            "peak_bytes": max((stage.peak_bytes or 0 for stage in view.stages), default=0) or None,
        }
    if view.state == "stopped" or (stopped and not view.is_final):
        return {**shown, "state": "waiting" if stopped else "skipped", "progress": 0.0}
    return {**shown, "state": "failed", "error": view.error or "The run did not reach its end."}


def _sum(parts: list[float | None]) -> float | None:
    """Return a sum, None where a part of it is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _measured(view: RunView, adherence: Adherence | None) -> dict[str, Any]:
    """Return the metrics of a finished run's last picture, against its first if that is another."""
    last = _picture(view.stages[-1])
    if last is None:
        return {}
    figures = {}
    if adherence is not None:
        try:
            figures["adherence"] = adherence(str(view.settings.get("prompt", "")), last)
        except GspnError as error:
            # The picture is fine; only a figure is missing.
            _log.warning("%s", error)
    base = _picture(view.stages[0]) if len(view.stages) > 1 else None
    if base is None:
        return figures
    from gspn_core.metrics.structure import consistency, detail

    decibels = consistency(last, base)
    return {**figures, "consistency": min(decibels, 99.0), "detail": detail(last, base.width)}


def _picture(stage: StageView) -> Image | None:
    return read_picture(Path(stage.png_path)) if stage.png_path else None
