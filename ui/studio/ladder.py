"""What the viewer and the filmstrip show of a run: plain JSON that screen.js paints. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gspn_core.images.tiles import tiles_info
from gspn_core.planning.suggestions import Suggestion, find_fit_issue, is_long
from gspn_core.planning.types import CascadePlan, StagePlan
from gspn_core.runs.run import RESUMABLE_STATES, RunView, StageView
from gspn_core.runs.stage_cache import CacheHit
from gspn_core.setting_values import start_size
from ui.guard.files import file_url
from ui.shared.strings import studio_strings, units


def tiles_props(stage: StageView) -> dict[str, Any] | None:
    """Return what viewer.js needs to ask for a stage's tiles; None until they are written."""
    if stage.tiles_path is None:
        return None
    info = tiles_info(stage.height, stage.width)
    return {"url": file_url(stage.tiles_path), **dataclasses.asdict(info)}


def picture_props(stage: StageView, alt: str) -> dict[str, Any]:
    """Return a finished stage as a card that a viewer of viewer.js shows; alt: what it is called."""
    return {
        "width": stage.width,
        "height": stage.height,
        "proxy": file_url(stage.proxy_path),
        "tiles": tiles_props(stage),
        "png": file_url(stage.png_path),
        "alt": alt,
    }


def ladder_props(view: RunView) -> dict[str, Any]:
    """Return the cards of a run, the stage to show unasked, the live preview and what is said over it."""
    prompt, seed = view.settings.get("prompt", ""), view.settings.get("seed")
    finished = [stage.index for stage in view.stages if stage.proxy_path]
    live = view.state in ("queued", "running")
    return {
        "stages": [
            _card(stage, prompt, seed, starts=bool(view.settings.get("start"))) for stage in view.stages
        ],
        "show": finished[-1] if finished else None,
        "preview": view.preview if live else None,
        "preview_stage": view.stage if live else None,
        "veil": "" if finished else studio_strings.NOTHING_DONE.get(view.state, ""),
        "announce": _announcement(view),
    }


def planned_props(
    plan: CascadePlan | None,
    reuse: Sequence[CacheHit] = (),
    start: str | None = None,
    *,
    suggestions: Sequence[Suggestion] = (),
) -> dict[str, Any]:
    """Return empty cards of the stages that a run would have; none where there is no plan.

    reuse: the stages that need not run. start: path of the small JPEG of the picture to start from, which
    is shown as the first stage's. suggestions: what would help the first stage that does not fit.
    """
    stages = plan.stages if plan else ()
    issue = find_fit_issue(plan) if plan else None
    known = {found.stage: studio_strings.reusable(found.saved_seconds) for found in reuse}
    known |= {
        stage.index: _of_kind(stage.kind.name)
        for stage in stages
        if not stage.kind.denoises and stage.peak_bytes is None
    }
    # The viewer shows a picture at the size it is given, and this one has its own.
    own = start_size(plan.settings.start) if start else None
    cards = [
        {
            "state": "planned",
            "number": stage.index + 1,
            "height": stage.size.height,
            "width": stage.size.width,
            "title": units.size(stage.size.height, stage.size.width),
            "label": " ".join(
                (
                    units.size(stage.size.height, stage.size.width),
                    *(known.get(stage.index) or _predicted(stage, plan.budget_bytes)),
                )
            ),
            "lines": known.get(stage.index) or _predicted(stage, plan.budget_bytes),
            "over": not stage.fits and stage.index not in known,
            "long": is_long(stage) and stage.index not in known,
            "suggestions": suggestion_props(suggestions) if issue and stage is issue.stage else [],
            **(
                {"proxy": file_url(start), "height": own[0], "width": own[1]}
                if own and not stage.index
                else {}
            ),
        }
        for stage in stages
    ]
    return {
        "stages": cards,
        "show": 0 if start and cards else None,
        "preview": None,
        "preview_stage": None,
        "veil": "",
        "announce": "",
    }


def suggestion_props(suggestions: Sequence[Suggestion]) -> list[dict[str, Any]]:
    """Return the buttons of suggestions: what each says, what the run then takes, and what it changes."""
    return [
        {
            "label": studio_strings.suggestion(suggestion.name, suggestion.value),
            "title": studio_strings.suggestion_takes(suggestion.seconds, suggestion.peak_bytes),
            "detail": {"name": suggestion.name, "value": suggestion.value},
        }
        for suggestion in suggestions
    ]


def issue_props(plan: CascadePlan, suggestions: Sequence[Suggestion]) -> dict[str, Any]:
    """Return what is wrong with the run to come and what would help; an empty text where nothing is wrong."""
    issue = find_fit_issue(plan)
    if issue is None:
        return {"text": "", "suggestions": []}
    stage = issue.stage
    title = units.size(stage.size.height, stage.size.width)
    lines = _predicted(stage, plan.budget_bytes)
    return {
        "text": studio_strings.fit_issue(title, issue.reason, lines),
        "suggestions": suggestion_props(suggestions),
    }


def _predicted(stage: StagePlan, budget_bytes: int | None) -> list[str]:
    """Return what a stage is predicted to take, and how it is made to fit or why it does not."""
    drawn = _of_kind(stage.kind.name)
    if stage.peak_bytes is None:
        return drawn
    if not stage.fits:
        return studio_strings.too_large(stage.peak_bytes, budget_bytes)
    predicted = studio_strings.predicted(
        stage.seconds, stage.peak_bytes, stage.choices.taken, long=is_long(stage)
    )
    return [*drawn, *predicted]


def _card(stage: StageView, prompt: str, seed: int | None, *, starts: bool) -> dict[str, Any]:
    height, width = stage.height, stage.width
    kind = stage.kind
    if not kind and starts and not stage.index:
        # Records that are older than kinds.
        kind = "redraw" if stage.steps else "keep"
    lines = _of_kind(kind)
    # What keeps or resizes a picture takes no time to speak of.
    if stage.steps or not lines or stage.predicted_bytes is not None:
        lines = [*lines, *_lines(stage)]
    return {
        "state": stage.state,
        "number": stage.index + 1,
        "height": height,
        "width": width,
        "title": units.size(height, width),
        "lines": lines,
        "progress": _progress(stage),
        "label": studio_strings.stage_label(stage.index + 1, height, width, stage.state, lines),
        "alt": studio_strings.picture_alt(prompt, height, width),
        "proxy": file_url(stage.proxy_path),
        "tiles": tiles_props(stage),
        "png": file_url(stage.png_path),
        "file": studio_strings.file_name(height, width, seed),
    }


def _of_kind(kind: str) -> list[str]:
    """Return what a card says of a stage's kind, nothing for the usual ones."""
    return [studio_strings.KINDS[kind]] if kind in studio_strings.KINDS else []


def _lines(stage: StageView) -> list[str]:
    if stage.reused:
        return studio_strings.reused(stage.saved_seconds)
    if stage.state == "done":
        return [
            units.seconds(stage.seconds),
            units.bytes_(stage.peak_bytes),
            *studio_strings.retried(stage.retries),
        ]
    if stage.state == "running":
        return [studio_strings.stage_progress(stage), *studio_strings.retried(stage.retries)]
    if stage.state == "waiting" and stage.predicted_bytes is not None:
        return studio_strings.predicted(stage.predicted_seconds, stage.predicted_bytes, ())
    return [studio_strings.STAGE_STATES[stage.state]]


def _progress(stage: StageView) -> float:
    if stage.state == "done":
        return 1.0
    return stage.step / stage.steps if stage.steps else 0.0


def _announcement(view: RunView) -> str:
    done = [stage for stage in view.stages if stage.state == "done"]
    if view.state in RESUMABLE_STATES:
        return studio_strings.HEADLINES[view.state]
    if not done:
        return ""
    last = done[-1]
    return studio_strings.stage_announcement(
        last.index + 1, len(view.stages), None if last.reused else last.seconds
    )
