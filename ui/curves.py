"""What a slider decides, as a small curve over the last stage's steps, drawn by assets/curves.js."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from gspn_core.errors import BadSetting
from gspn_core.events import StepWeights
from gspn_core.plan import CascadePlan, ModelCard, StagePlan, make_plan
from gspn_core.settings import FIELD_NAMES, Settings
from ui import words
from ui.form import Form, settings_from
from ui.part import html_part

WIDTH, HEIGHT = 72.0, 22.0
_EDGE = 2.0
Weights = Callable[[Settings], tuple[tuple[StepWeights, ...], ...] | None]


def build_curves() -> gr.HTML:
    """Draw the part into the open gradio block; it draws into the sliders' own blocks."""
    return html_part("curves", {"curves": {}, "wait": True})


def wire_curves(parts: dict[str, Any], form: Form, card: ModelCard, weights: Weights) -> None:
    """Let the part ask for the curves of the form as it stands."""

    def ask(*values: Any) -> Any:
        return asked_for(values, card, weights)

    parts["curves"].ask(
        ask,
        form.inputs,
        parts["curves"],
        preprocess=False,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
        trigger_mode="multiple",
    )


def asked_for(values: Sequence[Any], card: ModelCard, weights: Weights) -> Any:
    """Return the curves of what the form holds; skip where it holds what cannot be run."""
    given = list(values)
    # The prompt plays no part in the weights, and an empty one is no reason to show none.
    given[FIELD_NAMES.index("prompt")] = card.examples[0] if card.examples else words.PLACEHOLDERS["prompt"]
    try:
        settings = settings_from(given)
        plan = make_plan(settings, card)
        told = weights(settings)
    except BadSetting:
        return gr.skip()
    if told is None:
        return {"curves": {}, "wait": True}
    return {"curves": curves_of(plan, told[-1]), "wait": False}


def curves_of(plan: CascadePlan, steps: Sequence[StepWeights]) -> dict[str, Any]:
    """Return the curve and the sentence of each slider by its name; none for a run of one stage."""
    stage = plan.stages[-1]
    if not steps:
        return {}
    sigma, least = stage.settings.gaussian_sigma, stage.settings.dilated_min_weight
    c1, c2, c3 = ([getattr(step, name) for step in steps] for name in ("c1", "c2", "c3"))
    dilated = sum(step.dilated for step in steps)
    blurs = [sigma * value for value in c3]
    branch = {**_curve(c2, least), "marks": _marks(c2, [step.dilated for step in steps], least)}
    branch["said"] = words.curve_dilated(c2[0], c2[-1], least, dilated, len(steps))
    return {
        "upscale_strength": {
            **_share(stage),
            "said": words.curve_strength(stage.steps, stage.num_inference_steps, steps[0].timestep),
        },
        "gaussian_sigma": {**_curve(blurs), "said": words.curve_blur(blurs[0], blurs[-1], len(steps))},
        "cosine_scale_1": {**_curve(c1), "said": words.curve_skip(c1[0], c1[-1], len(steps))},
        "cosine_scale_2": branch,
        "cosine_scale_3": {**_curve(c3), "said": words.curve_fade(c3[0], c3[-1], len(steps))},
        "dilated_min_weight": branch,
    }


def _curve(values: Sequence[float], line: float | None = None) -> dict[str, Any]:
    """Return the path of values over the steps, from 0 at the bottom to the largest at the top."""
    points = _points(values, line)
    drawn = points if len(points) > 1 else [(_EDGE, points[0][1]), (WIDTH - _EDGE, points[0][1])]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in drawn)
    at = None if line is None else round(_height(line, _top(values, line)), 1)
    return {"path": path, "line": at, "marks": [], "track": None, "fill": None}


def _share(stage: StagePlan) -> dict[str, Any]:
    """Return a bar of all timesteps with the part that this stage runs again, which is the last."""
    inner = WIDTH - 2 * _EDGE
    left = _EDGE + inner * (1 - stage.steps / stage.num_inference_steps)
    fill = [round(left, 1), round(WIDTH - _EDGE, 1)]
    return {"path": "", "line": None, "marks": [], "track": [_EDGE, WIDTH - _EDGE], "fill": fill}


def _marks(values: Sequence[float], dilated: Sequence[bool], line: float) -> list[list[float]]:
    """Return where the steps stand that evaluate the dilated branch."""
    points = zip(_points(values, line), dilated, strict=True)
    return [[round(x, 1), round(y, 1)] for (x, y), runs in points if runs]


def _points(values: Sequence[float], line: float | None) -> list[tuple[float, float]]:
    top = _top(values, line)
    last = max(len(values) - 1, 1)
    return [(_EDGE + i / last * (WIDTH - 2 * _EDGE), _height(value, top)) for i, value in enumerate(values)]


def _top(values: Sequence[float], line: float | None) -> float:
    return max(*values, line or 0.0, 1e-9)


def _height(value: float, top: float) -> float:
    return HEIGHT - _EDGE - min(value / top, 1.0) * (HEIGHT - 2 * _EDGE)
