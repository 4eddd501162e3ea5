"""What the page's events do with jobs: each handler tells by name which parts change, and to what.

Knows the names of the parts, not the components behind them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import gradio as gr

from gspn_core.errors import BadSetting, GspnError, NotOwner
from gspn_core.events import ModelProgress
from gspn_core.planning.suggestions import Suggestion
from gspn_core.planning.types import CascadePlan, ModelCard
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RunView, Stopping
from gspn_core.runs.stage_cache import CacheHit
from gspn_core.settings import FIELD_NAMES, Settings
from ui.form.form import initial_values, settings_from, values_of
from ui.guard.payload import Name, Payload, read
from ui.shared.models import masthead_props
from ui.shared.strings import labels, studio_strings
from ui.studio.actions import action_props
from ui.studio.forecast import Forecast, forecast
from ui.studio.ladder import issue_props, ladder_props, planned_props
from ui.studio.panel import idle_props, panel_props

Patch = dict[str, Any]
_LIVE = ("queued", "running")


def screen_props(
    view: RunView, card: ModelCard, *, restored: bool = False, follow: bool = False
) -> dict[str, Any]:
    """Return everything that the screen shows of a run, ready for JSON.

    follow: nothing tells the screen yet how the run goes on; it is to ask for that.
    """
    return {
        "job": view.id,
        "state": view.state,
        "stopping": view.stopping,
        "created": view.created,
        "restored": restored,
        "follow": follow,
        "panel": panel_props(view),
        "actions": action_props(view, card),
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
        "actions": {"run": [], "stages": []},
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

    undo: the name and the value by which a field becomes what it was.
    """
    return {"text": text, "tone": tone, "field": field, "undo": None if undo is None else dict(undo)}


def buttons(state: str, *, stopping: Stopping | None = None, more_stages: bool = False) -> Patch:
    """Return how Run and the two Stops look while a run is in that state.

    more_stages: a stage runs after which there are others, so that it matters when the run stops.
    """
    live = state in _LIVE
    label = {"queued": studio_strings.QUEUED, "running": studio_strings.RUNNING}.get(
        state, studio_strings.RUN
    )
    now, later = stopping == "now", stopping == "after_stage"
    return {
        "run": gr.update(value=label, interactive=not live),
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


class Change(Payload):
    """A field and the value that it is given."""

    name: Name = ""
    value: str | int | float | None = None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


class Runs:
    """The handlers of one page.

    machine: returns what the model runs on, None while it is being read; reading: how far that is; issue:
    what is wrong with the model, "" for nothing.
    """

    def __init__(
        self,
        jobs: RunQueue,
        card: ModelCard,
        *,
        machine: Callable[[], str | None],
        reading: Callable[[], ModelProgress | None] = lambda: None,
        issue: Callable[[], str] = lambda: "",
    ) -> None:
        self._jobs = jobs
        self._card = card
        self._machine, self._reading, self._issue = machine, reading, issue

    def start(self, values: Sequence[Any], visitor: str | None = None) -> Iterator[Patch]:
        """Submit what the form holds and follow it; a refusal changes nothing but the notice.

        visitor: the token of the visitor's browser; one that has none gets one here.
        """
        token = visitor or new_visitor()
        try:
            job_id = self._jobs.submit(settings_from(values), visitor=token)
        except BadSetting as refusal:
            yield {"notice": notice(labels.said(str(refusal)), tone="error", field=refusal.field)} | buttons(
                "done"
            )
            return
        except GspnError as refusal:
            yield {"notice": notice(labels.said(str(refusal)), tone="error")} | buttons("done")
            return
        known = {"job": job_id} | ({} if visitor else {"visitor": token})
        yield known | {"notice": notice()}
        for patch in self.follow(job_id):
            yield known | patch

    def follow(self, job_id: str | None, *, restored: bool = False) -> Iterator[Patch]:
        """Tell what changes while a run goes on, from its present state to its end."""
        try:
            with closing(self._views(job_id)) as views:
                for view in views:
                    # Whole each time: of patches that come close together a browser applies the last alone,
                    # and what did not change is not sent.
                    shown = screen_props(view, self._card, restored=restored)
                    yield {"screen": shown, "notice": _notice_of(view)} | buttons_of(view)
        except GspnError:
            yield self.lost() | {"notice": notice(studio_strings.LOST_RUN)}

    def _views(self, job_id: str | None) -> Iterator[RunView]:
        # A generator of our own, so that there is something to close however jobs hand their views out.
        yield from self._jobs.follow(job_id or "")

    def lost(self) -> Patch:
        """Return the page as it is before any run."""
        return {"screen": self.outline_of(initial_values(self._card)), "job": None} | buttons("done")

    def restore(
        self, asked_for: str | None, remembered: str | None, visitor: str | None = None
    ) -> Iterator[Patch]:
        """Bring back the run named in the address, else the one this browser had last, else nothing."""
        yield {"masthead": self.masthead()} | ({} if visitor else {"visitor": new_visitor()})
        job_id = asked_for or remembered
        if not job_id:
            return
        try:
            view = self._jobs.view(job_id)
        except GspnError:
            # A run that the address names was asked for; one that was merely remembered is let go in silence.
            yield self.lost() | {"notice": notice(studio_strings.LOST_RUN if asked_for else "")}
            return
        # The form is filled once, and not again over what is typed while the run goes on.
        known = {"job": job_id} | self._fields(view)
        for patch in self.follow(job_id, restored=True):
            yield known | patch
            known = {"job": job_id}

    def open(self, job_id: str, *, restored: bool = True, with_form: bool = True) -> Patch:
        """Show a run, with its settings in the form; the screen then asks to follow it."""
        try:
            view = self._jobs.view(job_id)
        except GspnError:
            return {"notice": notice(studio_strings.LOST_RUN)}
        patch = {
            "job": job_id,
            "screen": screen_props(view, self._card, restored=restored, follow=not view.is_final),
            "notice": _notice_of(view),
        }
        return patch | buttons_of(view) | (self._fields(view) if with_form else {})

    def look(self, job_id: str) -> Patch:
        """Show a run that is on the screen as it stands now; one that goes on is then followed."""
        return self.open(job_id, restored=False, with_form=False)

    def resume(self, job_id: str, visitor: str | None) -> Patch:
        """Take a run up again from its last finished stage and show it."""
        return self._again(lambda: self._jobs.resume(job_id, visitor=visitor or ""))

    def extend(self, job_id: str, target: int, visitor: str | None) -> Patch:
        """Go on with a run to a higher target and show it."""
        return self._again(lambda: self._jobs.extend(job_id, target, visitor=visitor or ""))

    def redo(self, job_id: str, stage: int, values: Sequence[Any], visitor: str | None) -> Patch:
        """Run a run's stages from one on again as the form asks; the form stays as it is."""

        def again() -> str:
            return self._jobs.redo(job_id, stage, settings_from(values), visitor=visitor or "")

        return self._again(again, with_form=False)

    def _again(self, submit: Callable[[], str], *, with_form: bool = True) -> Patch:
        try:
            job_id = submit()
        except BadSetting as refusal:
            return {"notice": notice(labels.said(str(refusal)), tone="error", field=refusal.field)}
        except GspnError as refusal:
            return {"notice": notice(labels.said(str(refusal)), tone="error")}
        return self.open(job_id, restored=False, with_form=with_form)

    def _fields(self, view: RunView) -> Patch:
        fields = dict(zip(FIELD_NAMES, values_of(view.settings, self._card), strict=True))
        # A drawn seed is not what was asked for; leaving it out keeps the next run a new one.
        return fields | ({"seed": ""} if view.seed_drawn else {})

    def stop(self, job_id: str | None, visitor: str | None, *, after_stage: bool = False) -> Patch:
        """Ask a run to stop, at once or after its present stage; its follower shows how it ends."""
        try:
            self._jobs.stop(job_id or "", visitor=visitor or "", after_stage=after_stage)
        except NotOwner as refusal:
            return {"notice": notice(labels.said(str(refusal)), tone="error")}
        except GspnError:
            return {"notice": notice(studio_strings.LOST_RUN)} | buttons("done")
        return {"notice": notice()}

    def reuse_seed(self, job_id: str | None) -> Patch:
        """Put the last run's seed into the form."""
        try:
            return {"seed": str(self._jobs.view(job_id or "").settings["seed"]), "notice": notice()}
        except GspnError:
            return {"seed": "", "notice": notice(studio_strings.NO_SEED_YET)}

    def forecast(self, values: Sequence[Any]) -> Forecast:
        """Return what a run of form values would be."""
        return forecast(values, self._card, self._jobs)

    def outline(self, job_id: str | None, ahead: Forecast) -> Patch:
        """Say what the next run would reuse; redraw the empty stages unless the screen shows a run.

        The stages go to the screen through another part. Of values of one part that come close together a
        browser applies the last alone, so that here they would swallow the last word on a run.
        """
        if job_id:
            # The cards are the run's on the screen; what is wrong with the next one is said next to Run.
            return {"ahead": ahead_props(ahead, with_issue=True)}
        return {"ahead": {**ahead_props(ahead), "outline": self._empty_screen(ahead)}}

    def outline_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the empty screen for form values by name."""
        return self._empty_screen(self.forecast([values[name] for name in FIELD_NAMES]))

    def _empty_screen(self, ahead: Forecast) -> dict[str, Any]:
        plan = ahead.plan
        path = self._jobs.start_proxy(plan.settings.start) if plan and plan.settings.start else None
        start = None if path is None else str(path)
        return empty_screen(plan, ahead.hits, start, suggestions=ahead.suggestions)

    def suggestion(self, sent: Any, values: Sequence[Any]) -> Patch:
        """Change one setting in the form as a suggestion's button says, and tell how it is undone."""
        asked = read(Change, sent)
        name, value = asked.name, asked.value
        held = dict(zip(FIELD_NAMES, values, strict=True))
        try:
            if name not in studio_strings.SUGGESTIONS:
                raise BadSetting("suggestion", studio_strings.NO_SUGGESTION)
            value = getattr(Settings.from_dict({"prompt": "a", name: value}), name)
        except BadSetting as refusal:
            return {"notice": notice(labels.said(str(refusal)), tone="error")}
        # A field may hold anything that a script sent; what comes back is a plain value.
        before = Change(name=name, value=held[name] if _is_plain(held[name]) else value)
        undo = {"name": name, "value": before.value}
        return {
            name: value,
            "notice": notice(studio_strings.suggestion_taken(name, value, before.value), undo=undo),
        }

    def undo(self, sent: Any) -> Patch:
        """Give a field back the value that it had before a suggestion."""
        asked = read(Change, sent)
        if asked.name not in studio_strings.SUGGESTIONS:
            return {"notice": notice(studio_strings.NO_SUGGESTION, tone="error")}
        return {asked.name: asked.value, "notice": notice()}

    def masthead(self) -> dict[str, Any]:
        """Return what changes at the top: what the model runs on, or how far its reading is."""
        return masthead_props(self._machine(), self._reading(), self._issue())


def new_visitor() -> str:
    """Return an unguessable token for a browser that has none."""
    return secrets.token_urlsafe(24)


def ahead_props(ahead: Forecast, *, with_issue: bool = False) -> dict[str, Any]:
    """Return what stands next to Run of the run to come: which stages it would reuse, or what is wrong.

    Args:
        ahead: The run to come.
        with_issue: Whether to say what is wrong; not where the cards say it.
    """
    plan, silent = ahead.plan, {"text": "", "over": False, "suggestions": [], "outline": None}
    if plan is None:
        return silent
    if with_issue and (issue := issue_props(plan, ahead.suggestions))["text"]:
        return {**silent, "over": True, **issue}
    sizes = [plan.stages[hit.stage].size for hit in ahead.hits]
    known = [hit.saved_seconds for hit in ahead.hits if hit.saved_seconds is not None]
    pairs = [(size.height, size.width) for size in sizes]
    return {**silent, "text": studio_strings.ahead(pairs, sum(known) if known else None, len(plan.stages))}


def _notice_of(view: RunView) -> dict[str, Any]:
    if view.state == "failed":
        return notice(view.error or studio_strings.HEADLINES["failed"], tone="error")
    if view.state == "interrupted":
        return notice(view.error or studio_strings.HEADLINES["interrupted"])
    if view.state == "stopped" and any(stage.state == "done" for stage in view.stages):
        return notice(studio_strings.STOPPED_NOTICE)
    return notice(" ".join(view.notices))
