"""What the page's events do with jobs: each handler tells by name which parts change, and to what.

Knows the names of the parts, not the components behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr

from gspn_core.errors import BadSetting, GspnError
from gspn_core.jobs.job import JobView
from gspn_core.jobs.worker import Jobs
from gspn_core.plan import ModelCard, make_plan
from gspn_core.settings import FIELD_NAMES, Settings
from ui import words
from ui.form import initial_values, settings_from, values_of
from ui.ladder import ladder_props, planned_props
from ui.panel import idle_props, panel_props

Patch = dict[str, Any]
_LIVE = ("queued", "running")


def screen_props(view: JobView, *, restored: bool = False) -> dict[str, Any]:
    """Return everything that the screen shows of a run, ready for JSON."""
    return {
        "job": view.id,
        "state": view.state,
        "stopping": view.stopping,
        "created": view.created,
        "restored": restored,
        "panel": panel_props(view),
        **ladder_props(view),
    }


def empty_screen(settings: Settings | None, card: ModelCard) -> dict[str, Any]:
    """Return the screen before a run: the stages that the settings would give, as empty cards."""
    try:
        plan = None if settings is None else make_plan(settings, card)
    except BadSetting:
        plan = None
    return {
        "job": None,
        "state": "empty",
        "stopping": False,
        "created": None,
        "restored": False,
        "panel": idle_props(plan),
        **planned_props(plan),
    }


def notice(text: str = "", *, tone: str = "info", field: str | None = None) -> dict[str, Any]:
    """Return what stands beside the form: a sentence, whether it is an error, the field it is about."""
    return {"text": text, "tone": tone, "field": field}


def buttons(state: str, *, stopping: bool = False) -> Patch:
    """Return how Run and Stop look while a run is in that state."""
    live = state in _LIVE
    label = {"queued": words.QUEUED, "running": words.RUNNING}.get(state, words.RUN)
    return {
        "run": gr.update(value=label, interactive=not live),
        "stop": gr.update(
            value=words.STOPPING if live and stopping else words.STOP, interactive=live and not stopping
        ),
    }


class Runs:
    """The handlers of one page. machine: returns what the model runs on, None while it is being read."""

    def __init__(self, jobs: Jobs, card: ModelCard, *, machine: Callable[[], str | None]) -> None:
        self._jobs = jobs
        self._card = card
        self._machine = machine

    def start(self, values: Sequence[Any]) -> Iterator[Patch]:
        """Submit what the form holds and follow it; a refusal changes nothing but the notice."""
        try:
            job_id = self._jobs.submit(settings_from(values))
        except BadSetting as refusal:
            yield {"notice": notice(str(refusal), tone="error", field=refusal.field)} | buttons("done")
            return
        except GspnError as refusal:
            yield {"notice": notice(str(refusal), tone="error")} | buttons("done")
            return
        yield {"job": job_id, "notice": notice()}
        yield from self.follow(job_id)

    def follow(self, job_id: str | None, *, restored: bool = False) -> Iterator[Patch]:
        """Tell what changes while a run goes on, from its present state to its end."""
        shown = None
        try:
            with closing(self._views(job_id)) as views:
                for view in views:
                    patch: Patch = {"screen": screen_props(view, restored=restored)}
                    if shown != (view.state, view.stopping, view.notices):
                        shown = (view.state, view.stopping, view.notices)
                        patch |= buttons(view.state, stopping=view.stopping)
                        patch["notice"] = _notice_of(view)
                    yield patch
        except GspnError:
            yield self.lost() | {"notice": notice(words.LOST_RUN)}

    def _views(self, job_id: str | None) -> Iterator[JobView]:
        # A generator of our own, so that there is something to close however jobs hand their views out.
        yield from self._jobs.follow(job_id or "")

    def lost(self) -> Patch:
        """Return the page as it is before any run."""
        return {"screen": self.outline_of(initial_values(self._card)), "job": None} | buttons("done")

    def restore(self, asked_for: str | None, remembered: str | None) -> Iterator[Patch]:
        """Bring back the run named in the address, else the one this browser had last, else nothing."""
        yield {"masthead": self.masthead()}
        job_id = asked_for or remembered
        if not job_id:
            return
        try:
            view = self._jobs.view(job_id)
        except GspnError:
            # A run that the address names was asked for; one that was merely remembered is let go in silence.
            yield self.lost() | {"notice": notice(words.LOST_RUN if asked_for else "")}
            return
        fields = dict(zip(FIELD_NAMES, values_of(view.settings, self._card), strict=True))
        # A drawn seed is not what was asked for; leaving it out keeps the next run a new one.
        yield {"job": job_id} | fields | ({"seed": ""} if view.seed_drawn else {})
        yield from self.follow(job_id, restored=True)

    def stop(self, job_id: str | None) -> Patch:
        """Ask a run to stop; its follower shows how it ends."""
        try:
            self._jobs.stop(job_id or "")
        except GspnError:
            return {"notice": notice(words.LOST_RUN)} | buttons("done")
        return {"notice": notice()}

    def reuse_seed(self, job_id: str | None) -> Patch:
        """Put the last run's seed into the form."""
        try:
            return {"seed": str(self._jobs.view(job_id or "").settings["seed"]), "notice": notice()}
        except GspnError:
            return {"seed": "", "notice": notice(words.NO_SEED_YET)}

    def outline(self, job_id: str | None, values: Sequence[Any]) -> Patch:
        """Redraw the empty stages for the form; leave the screen to a run that it already shows."""
        if job_id:
            return {"screen": gr.skip()}
        return {"screen": self.outline_of(dict(zip(FIELD_NAMES, values, strict=True)))}

    def outline_of(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the empty screen for form values; the prompt plays no part in the stages."""
        prompt = self._card.examples[0] if self._card.examples else words.PLACEHOLDERS["prompt"]
        try:
            settings = Settings.from_dict({**values, "prompt": prompt, "negative_prompt": "", "seed": None})
        except BadSetting:
            settings = None
        return empty_screen(settings, self._card)

    def masthead(self) -> dict[str, Any]:
        """Return what changes at the top: what the model runs on, or that it is still being read."""
        machine = self._machine()
        return {"machine": machine or "", "status": words.LOADING_MODEL if machine is None else ""}


def _notice_of(view: JobView) -> dict[str, Any]:
    if view.state == "failed":
        return notice(view.error or words.HEADLINES["failed"], tone="error")
    if view.state == "stopped" and any(stage.state == "done" for stage in view.stages):
        return notice(words.STOPPED_NOTICE)
    return notice(" ".join(view.notices))
