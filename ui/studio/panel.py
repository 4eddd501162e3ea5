"""What the live panel shows of a run: times, memory, the two curves. Pure; drawn by screen.js."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gspn_core.events import MemoryKind
from gspn_core.planning.types import CascadePlan
from gspn_core.runs.run import RunView
from ui.shared.strings import labels, studio_strings, units

CURVE_WIDTH, CURVE_HEIGHT = 200.0, 56.0
_HEADROOM = 4.0
WEIGHTS = ("c1", "c2", "c3")


def panel_props(view: RunView, wait_seconds: float | None = None) -> dict[str, Any]:
    """Return the headline, the clock's two numbers, the rows and the curves of a run.

    wait_seconds: until a run that waits starts, None while that is unknown.
    """
    running = view.stages[view.stage] if view.stage is not None else None
    return {
        "headline": _headline(view),
        "detail": _detail(view),
        "elapsed": view.elapsed_seconds if view.state != "queued" else None,
        "left": view.left_seconds if view.state == "running" else None,
        "wait": wait_seconds if view.state == "queued" else None,
        "cached": _cached(view),
        "progress": running.step / running.steps if running and running.steps else None,
        "rows": _rows(view),
        "memory": _memory(view),
        "weights": weight_curves(view.weights, running.step if running else None),
    }


def idle_props(plan: CascadePlan | None) -> dict[str, Any]:
    """Return the panel before any run: what the plan would do; only a headline where there is no plan."""
    rows = []
    if plan is not None:
        rows = [
            (studio_strings.ROWS["picture"], units.size(plan.size.height, plan.size.width)),
            (studio_strings.ROWS["stages"], str(len(plan.stages))),
            (
                studio_strings.ROWS["steps"],
                studio_strings.steps_of_stages([stage.steps for stage in plan.stages]),
            ),
        ]
    return {
        "headline": studio_strings.HEADLINES["empty"],
        "detail": "",
        "elapsed": None,
        "left": None,
        "wait": None,
        "cached": None,
        "progress": None,
        "rows": rows,
        "memory": None,
        "weights": None,
    }


def _headline(view: RunView) -> str:
    if view.state != "running" or not view.stages:
        return studio_strings.HEADLINES[view.state]
    done = sum(stage.state == "done" for stage in view.stages)
    if done == len(view.stages):
        return studio_strings.FINISHING
    if view.stage is None and not done:
        return studio_strings.HEADLINES["running"]
    return studio_strings.stage_headline(done + 1, len(view.stages))


def _cached(view: RunView) -> list[str] | None:
    """Return what stands in place of the clock for a run whose stages were all in the cache, else None."""
    if view.state != "done" or not view.stages or not all(stage.reused for stage in view.stages):
        return None
    seconds = [stage.saved_seconds for stage in view.stages]
    return studio_strings.all_cached(None if None in seconds else sum(seconds))


def _detail(view: RunView) -> str:
    if view.state == "running" and view.stage is not None:
        stage = view.stages[view.stage]
        return units.size(stage.height, stage.width)
    if view.state == "queued":
        return studio_strings.queue_place(view.queue_position)
    done = [stage for stage in view.stages if stage.state == "done"]
    return units.size(done[-1].height, done[-1].width) if done else ""


def _rows(view: RunView) -> list[tuple[str, str]]:
    rows = []
    if view.stage is not None:
        stage = view.stages[view.stage]
        rows.append((studio_strings.ROWS["step"], studio_strings.stage_progress(stage)))
    memory = view.memory
    if memory and view.state == "running":
        rows.append((studio_strings.memory_label(memory.kind), units.bytes_(memory.now_bytes)))
        rows.append((studio_strings.ROWS["peak"], units.bytes_(memory.peak_bytes)))
    elif any(stage.peak_bytes for stage in view.stages):
        top = max((stage for stage in view.stages if stage.peak_bytes), key=lambda stage: stage.peak_bytes)
        label = studio_strings.ROWS["highest"].format(memory=studio_strings.memory_label(top.memory_kind))
        rows.append((label, units.bytes_(top.peak_bytes)))
    if view.state == "running":
        rows.append((studio_strings.ROWS["queue"], studio_strings.queue_place(0)))
    settings: Mapping[str, Any] = view.settings
    if settings.get("mixer"):
        rows.append((labels.LABELS["mixer"], labels.CHOICES.get(settings["mixer"], str(settings["mixer"]))))
    if settings.get("seed") is not None:
        rows.append((labels.LABELS["seed"], str(settings["seed"])))
    if settings.get("variation_strength"):
        varied = studio_strings.variation(settings.get("variation_seed"), settings["variation_strength"])
        rows.append((studio_strings.ROWS["variation"], varied))
    return rows


def _memory(view: RunView) -> dict[str, str] | None:
    peak = max((stage.peak_bytes or 0 for stage in view.stages), default=0)
    return memory_curve(view.history, peak, view.memory.kind if view.memory else None)


def memory_curve(
    history: Sequence[tuple[float, int]], peak_bytes: int, kind: MemoryKind | None
) -> dict[str, str] | None:
    """Return SVG paths of memory over elapsed seconds and of its peak, with labels; None below two points.

    The peak may lie above the line, whose points are taken between steps.
    """
    if len(history) < 2:
        return None
    start, end = history[0][0], history[-1][0]
    top = max(peak_bytes, *(count for _, count in history)) or 1
    span = (end - start) or 1.0
    points = [
        ((when - start) / span * CURVE_WIDTH, CURVE_HEIGHT - count / top * (CURVE_HEIGHT - _HEADROOM))
        for when, count in history
    ]
    line = _path(points)
    return {
        "line": line,
        "area": f"{line}L{CURVE_WIDTH:g} {CURVE_HEIGHT:g}L0 {CURVE_HEIGHT:g}Z",
        "peak": _path([(0.0, _HEADROOM), (CURVE_WIDTH, _HEADROOM)]),
        "label": studio_strings.memory_label(kind),
        "top": studio_strings.peak_of(top),
    }


def weight_curves(weights: Sequence[Any], step: int | None) -> dict[str, Any] | None:
    """Return SVG lines of c1, c2 and c3 over an upscale stage's steps, and where the run is in them."""
    if not weights:
        return None
    records = [weight if isinstance(weight, Mapping) else vars(weight) for weight in weights]
    last = max(len(records) - 1, 1)
    top = max(max(record[name] for record in records) for name in WEIGHTS) or 1.0
    lines = {}
    for name in WEIGHTS:
        points = [
            (i / last * CURVE_WIDTH, CURVE_HEIGHT - record[name] / top * (CURVE_HEIGHT - _HEADROOM))
            for i, record in enumerate(records)
        ]
        lines[name] = _path(points if len(points) > 1 else [*points, (CURVE_WIDTH, points[0][1])])
    at = None if step is None else min(step, last) / last * CURVE_WIDTH
    return {"lines": lines, "at": at, "top": studio_strings.weight_range(top)}


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
