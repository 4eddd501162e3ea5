"""What a slider decides, as a small curve over the last stage's steps, or why it decides nothing.

Drawn by curves.js.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from gspn_core.events import StepWeights
from gspn_core.kinds.kind import DILATION, TILING
from gspn_core.kinds.registry import FOLLOWING_ONLY
from gspn_core.planning.types import CascadePlan, ModelCard, StagePlan
from gspn_core.settings import Settings
from ui.shared.part import html_part
from ui.shared.strings import form_strings

WIDTH, HEIGHT = 72.0, 22.0
_EDGE = 2.0
# The layout is not seen to be held by less than this.
LEAST_HELD = 1e-3
Weights = Callable[[CascadePlan], tuple[tuple[StepWeights, ...], ...] | None]


def build_curves() -> gr.HTML:
    """Draw the part into the open gradio block; it draws into the sliders' own blocks."""
    return html_part("form", "curves", {"curves": {}, "idle": {}, "wait": True})


def curves_props(plan: CascadePlan | None, card: ModelCard, weights: Weights) -> dict[str, Any] | None:
    """Return the curves of a run to come; None where there are none, so that the last ones stay.

    Args:
        plan: The run's, None where the form holds what cannot be run.
        card: The model's.
        weights: Returns what each step of each stage of a plan would mix, None while the model is loaded.
    """
    if plan is None:
        return None
    steps = weights(plan)
    idle = idle_settings(plan, card, steps)
    if steps is None:
        return {"curves": {}, "idle": idle, "wait": True}
    curves = {name: curve for name, curve in curves_of(plan, steps[-1]).items() if name not in idle}
    return {"curves": curves, "idle": idle, "wait": False}


def curves_of(plan: CascadePlan, steps: Sequence[StepWeights]) -> dict[str, Any]:
    """Return the curve and the sentence of each slider by its name; none for a run of one stage."""
    stage = plan.stages[-1]
    if not steps:
        return {}
    first, held = steps[0], [step.held for step in steps]
    strength = form_strings.curve_strength(
        first.timestep, first.sigma, stage.steps, stage.num_inference_steps
    )
    branch = _branch(steps, stage.settings.dilated_min_weight)
    return {
        "upscale_strength": {**_share(stage.settings.upscale_strength), "said": strength},
        "cosine_scale_1": {**_curve(held, 1.0), "said": form_strings.curve_held(held[0], held[-1])},
        "cosine_scale_2": branch,
        "dilated_min_weight": branch,
        **({} if stage.tiling is None else {"tile_share": _tiles(stage)}),
        **(_widths(steps) if _holds(steps) else _blurs(steps, stage.settings.gaussian_sigma)),
    }


def _tiles(stage: StagePlan) -> dict[str, Any]:
    """Return a bar of all tiles with the part that is drawn."""
    drawn, tiles = stage.tiling.drawn, len(stage.tiling.crops)
    said = form_strings.curve_tiles(drawn, tiles, stage.steps)
    return {**_share(drawn / tiles), "said": said}


def _widths(steps: Sequence[StepWeights]) -> dict[str, Any]:
    """Return the curves of the two sliders that say how wide a structure must be to be held."""
    widths, factors = [step.layout_px for step in steps], [1 / step.c3 for step in steps]
    return {
        "gaussian_sigma": {**_curve(widths), "said": form_strings.curve_width(widths[0], widths[-1])},
        "cosine_scale_3": {**_curve(factors), "said": form_strings.curve_widened(factors[0], factors[-1])},
    }


def _blurs(steps: Sequence[StepWeights], sigma: float) -> dict[str, Any]:
    """Return the curves of the same two where nothing is held: they blur what the branch sees."""
    shares = [step.c3 for step in steps if step.dilated] or [0.0]
    blurs = [sigma * share for share in shares]
    return {
        "gaussian_sigma": {**_curve(blurs), "said": form_strings.curve_blur(blurs[0], blurs[-1])},
        "cosine_scale_3": {**_curve(shares, 1.0), "said": form_strings.curve_fade(shares[0], shares[-1])},
    }


def _branch(steps: Sequence[StepWeights], least: float) -> dict[str, Any]:
    """Return the curve of the dilated branch's weight, its cutoff and the steps that it runs in."""
    weights = [step.c2 for step in steps]
    runs = [step.c2 for step in steps if step.dilated] or [0.0]
    said = form_strings.curve_dilated(
        runs[0], runs[-1], least, sum(step.dilated for step in steps), len(steps)
    )
    at = round(_height(least, 1.0), 1)
    marks = _marks(weights, [step.dilated for step in steps])
    return {**_curve(weights, 1.0), "line": at, "marks": marks, "said": said}


def idle_settings(
    plan: CascadePlan, card: ModelCard, weights: tuple[tuple[StepWeights, ...], ...] | None
) -> dict[str, str]:
    """Return why each setting of later stages that does nothing in a plan does nothing, by its name.

    weights: what the steps of the plan's stages mix; None while they are not known, which tells less.
    """
    later = [stage for stage in plan.stages[1:] if stage.kind.reads & FOLLOWING_ONLY]
    if plan.stages[1:] and not later:
        return dict.fromkeys(sorted(FOLLOWING_ONLY), form_strings.IDLE["not_denoised"])
    if not later:
        highest = plan.settings.target == card.targets[-1]
        reason = form_strings.IDLE["one_stage_at_most" if highest else "one_stage"]
        return dict.fromkeys(sorted(FOLLOWING_ONLY), reason)
    own = [_own_settings(plan, stage) for stage in later]
    idle = dict.fromkeys(sorted(frozenset.intersection(*own)), form_strings.IDLE["overridden"])
    if not any(stage.kind.tiled for stage in later):
        idle["tile_share"] = form_strings.IDLE["untiled"]
    if weights is None:
        return idle
    reasons = [_idle_at(stage, weights[stage.index]) for stage in later]
    for name, reason in reasons[-1].items():
        if all(name in found for found in reasons):
            idle.setdefault(name, form_strings.IDLE[reason])
    return idle


def _own_settings(plan: CascadePlan, stage: StagePlan) -> frozenset[str]:
    """Return the settings of later stages that a stage has values of its own for."""
    px = stage.px
    overrides = plan.settings.overrides
    return FOLLOWING_ONLY & {override.name for override in overrides if override.stage_px == px}


def _idle_at(stage: StagePlan, steps: Sequence[StepWeights]) -> dict[str, str]:
    """Return the settings that do nothing in one later stage, each with its reason in form_strings.IDLE."""
    own = stage.settings
    if stage.kind.tiled and not stage.samples:
        return dict.fromkeys(FOLLOWING_ONLY - TILING, "undrawn")
    found = dict.fromkeys(DILATION, "tiled") if stage.kind.tiled else _idle_of_dilation(own, steps)
    if all(step.dilated and step.c2 >= 1 for step in steps):
        found["cosine_scale_1"] = "whole"
    if steps[0].held < LEAST_HELD:
        found["keep_base"] = "started_free"
    blurs = own.dilation_use == "branch" and any(step.dilated for step in steps)
    if not _holds(steps) and not blurs:
        found |= {"gaussian_sigma": "free", "cosine_scale_3": "free"}
    elif not own.gaussian_sigma:
        found["cosine_scale_3"] = "unblurred"
    return found


def _idle_of_dilation(own: Settings, steps: Sequence[StepWeights]) -> dict[str, str]:
    """Return what does nothing of the settings of the dilated prediction."""
    if not own.dilation_until:
        names = ("cosine_scale_2", "dilated_min_weight", "dilation_scope", "dilation_use")
        return dict.fromkeys(names, "never")
    if own.dilation_use == "main":
        return {"cosine_scale_2": "main", "dilated_min_weight": "main"}
    found = {}
    if not any(step.dilated for step in steps):
        found |= {"dilation_scope": "undilated", "dilation_until": "below"}
    if all(step.c2 >= 1 for step in steps):
        found["dilated_min_weight"] = "whole"
    return found


def _holds(steps: Sequence[StepWeights]) -> bool:
    """Tell whether the layout is held at any step; where it is at none, nothing of the base is restored."""
    return any(step.held >= LEAST_HELD for step in steps)


def _curve(values: Sequence[float], top: float | None = None) -> dict[str, Any]:
    """Return the path of values over the steps, from 0 at the bottom to `top`, or their largest."""
    points = _points(values, top or max(*values, 1e-9))
    drawn = points if len(points) > 1 else [(_EDGE, points[0][1]), (WIDTH - _EDGE, points[0][1])]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in drawn)
    return {"path": path, "line": None, "marks": [], "track": None, "fill": None}


def _share(strength: float) -> dict[str, Any]:
    """Return a bar of all timesteps with the part that a stage goes through, which is the last."""
    left = _EDGE + (WIDTH - 2 * _EDGE) * (1 - strength)
    fill = [round(left, 1), round(WIDTH - _EDGE, 1)]
    return {"path": "", "line": None, "marks": [], "track": [_EDGE, WIDTH - _EDGE], "fill": fill}


def _marks(values: Sequence[float], dilated: Sequence[bool]) -> list[list[float]]:
    """Return where the steps stand that evaluate the dilated branch."""
    points = zip(_points(values, 1.0), dilated, strict=True)
    return [[round(x, 1), round(y, 1)] for (x, y), runs in points if runs]


def _points(values: Sequence[float], top: float) -> list[tuple[float, float]]:
    last = max(len(values) - 1, 1)
    return [(_EDGE + i / last * (WIDTH - 2 * _EDGE), _height(value, top)) for i, value in enumerate(values)]


def _height(value: float, top: float) -> float:
    return HEIGHT - _EDGE - min(value / top, 1.0) * (HEIGHT - 2 * _EDGE)
