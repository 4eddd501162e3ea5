"""What can be done next with a run: continued to a higher target, taken up again, redone from a stage on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gspn_core.errors import GspnError
from gspn_core.images.png import parameters_text, project_version
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import ModelCard
from gspn_core.runs.run import RESUMABLE_STATES, RunView, kind_of
from gspn_core.settings import Settings
from ui.shared.strings import studio_strings

_MOST_TARGETS = 2


# What settings would take: seconds and peak bytes, each None while unknown. Raises BadSetting.
Takes = Callable[[Settings], tuple[float | None, int | None]]


def action_props(view: RunView, card: ModelCard, takes: Takes | None = None) -> dict[str, Any]:
    """Return what the panel offers for a run and each card's menu for its stage, ready for JSON.

    An action is {"name", "label", "detail"}, with a "title" where there is more to say; "compare" goes to
    that place, "copy" puts a text or the page's own address with other parameters on the clipboard, others
    are events of the screen.

    Args:
        view: The run.
        card: The model's.
        takes: Returns what a continuation would take; None plans it on no machine.
    """
    pairs = [_comparison(view, index) for index in _finished(view)[1:]]
    continuations = _continuations(view, card, takes or (lambda settings: _planned(settings, card)))
    return {
        "run": [
            *continuations,
            *_variations(view),
            *_resumption(view),
            *pairs[-1:],
            *_copies(view, card),
        ],
        "stages": [_stage_actions(view, stage.index, continuations) for stage in view.stages],
    }


def _finished(view: RunView) -> list[int]:
    return [stage.index for stage in view.stages if stage.state == "done"]


def _continuations(view: RunView, card: ModelCard, takes: Takes) -> list[dict[str, Any]]:
    if view.state != "done":
        return []
    reached = view.settings.get("target") or 0
    offered = []
    if view.picture and reached > _first_px(view, card):
        # A picture of a batch has its first stage alone, and its target in its settings.
        offered = [("resume", {"job": view.id}, reached)]
    offered += [("extend", {"job": view.id, "target": px}, px) for px in card.targets if px > reached]
    actions: list[dict[str, Any]] = []
    for name, detail, px in offered:
        if len(actions) == _MOST_TARGETS:
            break
        try:
            duration, peak_bytes = takes(Settings.from_dict({**view.settings, "target": px}))
        except GspnError:
            # A picture that was extended may be too large for it.
            continue
        label, title = (
            studio_strings.continue_to(px, duration),
            studio_strings.run_takes(duration, peak_bytes),
        )
        actions.append({"name": name, "label": label, "title": title, "detail": detail})
    return actions


def _variations(view: RunView) -> list[dict[str, Any]]:
    first = view.stages[0] if view.stages else None
    if not view.is_final or first is None or first.state != "done" or not kind_of(first).denoises:
        return []
    return [{"name": "vary", "label": studio_strings.VARIATIONS, "detail": {"job": view.id}}]


def _planned(settings: Settings, card: ModelCard) -> tuple[None, None]:
    make_plan(settings, card)
    return None, None


def _first_px(view: RunView, card: ModelCard) -> int:
    return view.settings.get("start_px") or card.base_px


def _resumption(view: RunView) -> list[dict[str, Any]]:
    if view.state not in RESUMABLE_STATES:
        return []
    return [{"name": "resume", "label": studio_strings.RESUME, "detail": {"job": view.id}}]


def _copies(view: RunView, card: ModelCard) -> list[dict[str, Any]]:
    """Return what can be copied of an ended run: its link, and its settings as other tools read them."""
    finished = _finished(view)
    if not view.is_final or not finished:
        return []
    link = {"name": "copy", "label": studio_strings.COPY_LINK, "detail": {"address": {"job": view.id}}}
    text = _settings_text(view, card, finished[-1])
    if text is None:
        return [link]
    return [link, {"name": "copy", "label": studio_strings.COPY_SETTINGS, "detail": {"text": text}}]


def _settings_text(view: RunView, card: ModelCard, stage: int) -> str | None:
    """Return a run's settings as its PNG has them for other tools; None for a record that says too little."""
    info = {
        # The stages below are the run's own, and of a batch's picture that is the first alone.
        "settings": view.settings | ({"target": _first_px(view, card)} if view.picture else {}),
        "model": view.model,
        "stage": stage,
        "stages": [{"height": s.height, "width": s.width, "steps": s.steps} for s in view.stages],
        "versions": {"gspn-studio": project_version()},
    }
    try:
        return parameters_text(info)
    except (GspnError, ArithmeticError, LookupError, TypeError):
        return None


def _comparison(view: RunView, index: int) -> dict[str, Any]:
    before = view.stages[index - 1]
    label = studio_strings.compare_with(before.height, before.width)
    items = [f"{view.id}.{index - 1}", f"{view.id}.{index}"]
    return {"name": "compare", "label": label, "detail": {"items": items}}


def _stage_actions(
    view: RunView, index: int, continuations: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    if view.stages[index].state != "done":
        return []
    actions = []
    if view.is_final:
        redo = {"job": view.id, "stage": index}
        actions.append({"name": "redo", "label": studio_strings.REDO, "detail": redo})
    if view.stages[index].png_path:
        used = {"job": view.id, "stage": index}
        actions.append({"name": "init_image", "label": studio_strings.INIT_IMAGE, "detail": used})
    if index:
        actions.append(_comparison(view, index))
    if index == len(view.stages) - 1:
        actions += continuations
    return actions
