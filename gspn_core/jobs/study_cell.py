"""What a cell of a study takes over from its run, while it goes and once it has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gspn_core.jobs.images import read_picture
from gspn_core.jobs.job import JobView


def going(view: JobView) -> dict[str, Any]:
    """Return what a cell shows of its run while it goes."""
    steps = sum(stage.steps for stage in view.stages) or 1
    done = sum(stage.steps if stage.state == "done" else stage.step for stage in view.stages)
    finished = [stage.index for stage in view.stages if stage.proxy_path]
    return {"progress": done / steps, "stage": finished[-1] if finished else None}


def ended(view: JobView, *, stopped: bool) -> dict[str, Any]:
    """Return what a cell is once its run has ended; one that was stopped with its study waits again."""
    shown = going(view)
    if view.state == "done":
        saved = [stage.saved_seconds or 0.0 for stage in view.stages if stage.reused]
        made = [stage.seconds or 0.0 for stage in view.stages if not stage.reused]
        return {
            **shown,
            **_measured(view),
            "state": "done",
            "progress": 1.0,
            "seconds": sum(made) + sum(saved),
            "saved_seconds": sum(saved),
            "peak_bytes": max((stage.peak_bytes or 0 for stage in view.stages), default=0) or None,
        }
    if view.state == "stopped" or (stopped and not view.is_final):
        return {**shown, "state": "waiting" if stopped else "skipped", "progress": 0.0}
    return {**shown, "state": "failed", "error": view.error or "The run did not reach its end."}


def _measured(view: JobView) -> dict[str, Any]:
    """Return the figures of a finished run's last picture against its first; none for a run of one stage."""
    if len(view.stages) < 2 or not (view.stages[0].png_path and view.stages[-1].png_path):
        return {}
    from gspn_core.measure.structure import consistency, detail

    base, last = (read_picture(Path(stage.png_path)) for stage in (view.stages[0], view.stages[-1]))
    if base is None or last is None:
        return {}
    decibels = consistency(last, base)
    return {"consistency": min(decibels, 99.0), "detail": detail(last, base.width)}
