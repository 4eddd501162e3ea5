"""What the studio's parts show: of a run, of the run to come, of Run and Stop, and the notice by the form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from gspn_core.errors import BadSetting, GspnError
from gspn_core.planning.suggestions import Suggestion
from gspn_core.planning.types import CascadePlan, ModelCard
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RunView, Stopping
from gspn_core.runs.run_state import first_stage_of
from gspn_core.runs.stage_cache import CacheHit
from ui.form.texts import texts_props
from ui.shared.strings import batch_strings, labels, studio_strings
from ui.studio.actions import action_props
from ui.studio.batch import batch_props
from ui.studio.forecast import Forecast, needed
from ui.studio.instant import offer_props
from ui.studio.ladder import issue_props, ladder_props, planned_props
from ui.studio.panel import idle_props, panel_props
from ui.studio.saves import save_props

# Which parts change, by name, and to what.
Patch = dict[str, Any]
_LIVE = ("queued", "running")


def screen_props(
    view: RunView,
    card: ModelCard,
    jobs: RunQueue,
    *,
    restored: bool = False,
    follow: bool = False,
    batch: Sequence[RunView] = (),
) -> dict[str, Any]:
    """Return everything that the screen shows of a run, ready for JSON.

    Args:
        view: The run.
        card: The model's.
        jobs: Where it waits or ran.
        restored: Whether it was brought back.
        follow: Whether nothing tells the screen yet how the run goes on; it is to ask for that.
        batch: The pictures of the batch that it belongs to.
    """
    panel = panel_props(view, jobs.wait_seconds(view.id) if view.state == "queued" else None)
    if view.picture and view.state == "running":
        panel["headline"] = batch_strings.drawing(view.picture, len(batch))
    return {
        "job": view.id,
        "state": view.state,
        "stopping": view.stopping,
        "created": view.created,
        "restored": restored,
        "follow": follow,
        "panel": panel,
        "batch": batch_props(view, batch),
        "compare_with": "",
        "actions": action_props(view, card, lambda asked: needed(asked, jobs)),
        "saves": save_props(view),
        **ladder_props(view),
    }


def empty_screen(
    plan: CascadePlan | None,
    reuse: Sequence[CacheHit] = (),
    start: str | None = None,
    *,
    suggestions: Sequence[Suggestion] = (),
) -> dict[str, Any]:
    """Return the screen before a run: the stages that it would have, as empty cards; see `planned_props`."""
    return {
        "job": None,
        "state": "empty",
        "stopping": False,
        "created": None,
        "restored": False,
        "follow": False,
        "panel": idle_props(plan),
        "batch": [],
        "compare_with": "",
        "actions": {"run": [], "stages": []},
        "saves": {"run": [], "stages": []},
        **planned_props(plan, reuse, start, suggestions=suggestions),
    }


def notice(
    text: str = "",
    *,
    tone: str = "info",
    field: str | None = None,
    undo: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what stands next to the form: a sentence, whether it is an error, the field it is about.

    undo: the values, by name, by which the form becomes what it was.
    """
    return {"text": text, "tone": tone, "field": field, "undo": undo and {"values": dict(undo)}}


def refused(refusal: GspnError) -> Patch:
    """Return the notice of what cannot be, with the field that it is about."""
    field = refusal.field if isinstance(refusal, BadSetting) else None
    return {"notice": notice(labels.said(str(refusal)), tone="error", field=field)}


def buttons(state: str, *, stopping: Stopping | None = None, more_stages: bool = False) -> Patch:
    """Return how Run, Run both and the two Stops look while a run is in that state.

    more_stages: a stage runs after which there are others, so that it matters when the run stops.
    """
    live = state in _LIVE
    label = {"queued": studio_strings.QUEUED, "running": studio_strings.RUNNING}.get(
        state, studio_strings.RUN
    )
    now, later = stopping == "now", stopping == "after_stage"
    return {
        "run": gr.update(value=label, interactive=not live),
        "both": gr.update(interactive=not live),
        "stop": gr.update(
            value=studio_strings.STOPPING if live and now else studio_strings.STOP,
            interactive=live and not now,
        ),
        "stop_after_stage": gr.update(
            value=studio_strings.STOPPING_AFTER_STAGE if later else studio_strings.STOP_AFTER_STAGE,
            interactive=not stopping,
            visible=state == "running" and not now and (more_stages or later),
        ),
    }


def buttons_of(view: RunView) -> Patch:
    """Return how Run and the two Stops look for a run as it stands."""
    last = view.stage is not None and view.stage == len(view.stages) - 1
    more_stages = view.stage is not None and not last
    return buttons(view.state, stopping=view.stopping, more_stages=more_stages)


def ahead_props(ahead: Forecast, *, with_issue: bool = False) -> dict[str, Any]:
    """Return what stands next to Run of the run to come: which stages it would reuse, or what is wrong.

    Args:
        ahead: The run to come.
        with_issue: Whether to say what is wrong; not where the cards say it.
    """
    plan = ahead.plan
    silent = {"text": "", "over": False, "suggestions": [], "outline": None}
    silent |= {"changed": studio_strings.changed(ahead.changed), "preset": ahead.preset}
    silent |= {"instant": offer_props(ahead), "texts": texts_props(ahead.texts)}
    if plan is None:
        return silent
    if ahead.refusal:
        return {**silent, "over": True, "text": labels.said(ahead.refusal)}
    run = plan if ahead.pictures == 1 else first_stage_of(plan)
    if with_issue and (issue := issue_props(run, ahead.suggestions))["text"]:
        return {**silent, "over": True, **issue}
    if ahead.pictures > 1:
        takes = (
            ""
            if not plan.stages[0].fits
            else batch_strings.takes(ahead.pictures, ahead.seconds, ahead.peak_bytes)
        )
        cached = batch_strings.cached(ahead.cached, ahead.pictures)
        return {**silent, "text": " ".join(filter(None, (takes, cached)))}
    sizes = [plan.stages[hit.stage].size for hit in ahead.hits]
    known = [hit.saved_seconds for hit in ahead.hits if hit.saved_seconds is not None]
    pairs = [(size.height, size.width) for size in sizes]
    cached = studio_strings.ahead(pairs, sum(known) if known else None, len(plan.stages))
    takes = "" if plan.too_large else studio_strings.run_takes(ahead.seconds, ahead.peak_bytes)
    return {**silent, "text": " ".join(filter(None, (takes, cached)))}


def notice_of(view: RunView) -> dict[str, Any]:
    """Return the notice of a run as it stands: why it ended as it did, or what its plan says."""
    if view.state == "failed":
        return notice(view.error or studio_strings.HEADLINES["failed"], tone="error")
    if view.state == "interrupted":
        return notice(view.error or studio_strings.HEADLINES["interrupted"])
    if view.state == "stopped" and any(stage.state == "done" for stage in view.stages):
        return notice(studio_strings.STOPPED_NOTICE)
    return notice(" ".join(view.notices))
