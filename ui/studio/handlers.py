"""What the page's events do with jobs: each handler tells by name which parts change, and to what.

Knows the names of the parts, not the components behind them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from types import MappingProxyType
from typing import Any

from gspn_core.errors import BadSetting, GspnError, NotOwner
from gspn_core.events import ModelProgress
from gspn_core.planning.costs import MOST_PICTURES
from gspn_core.planning.types import ModelCard
from gspn_core.runs.examples import is_example
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RunView
from gspn_core.settings import FIELD_NAMES, Settings
from ui.form.form import initial_values, settings_from, values_of
from ui.form.presets import does, preset_values
from ui.guard.files import file_url
from ui.guard.payload import read
from ui.shared.models import masthead_props
from ui.shared.strings import form_strings, labels, studio_strings
from ui.studio.batch import followed, leading, pictures_of
from ui.studio.both import follow_both, submit_both
from ui.studio.forecast import KEPT, Forecast, changed_settings, forecast
from ui.studio.form_changes import Before, Change, Preset, held_of, is_plain
from ui.studio.link import settings_in
from ui.studio.props import (
    Patch,
    ahead_props,
    buttons,
    buttons_of,
    empty_screen,
    notice,
    notice_of,
    refused,
    screen_props,
)
from ui.studio.tile_map import tile_map


class Runs:
    """The handlers of one page.

    machine: returns what the model runs on, None while it is being read; reading: how far that is; issue:
    what is wrong with the model, "" for nothing. examples: ids of the runs that come with the model.
    """

    def __init__(
        self,
        jobs: RunQueue,
        card: ModelCard,
        *,
        machine: Callable[[], str | None],
        reading: Callable[[], ModelProgress | None] = lambda: None,
        issue: Callable[[], str] = lambda: "",
        examples: Sequence[str] = (),
    ) -> None:
        self._jobs = jobs
        self._card = card
        self._examples = tuple(examples)
        self._machine, self._reading, self._issue = machine, reading, issue

    def start(self, values: Sequence[Any], visitor: str | None = None, pictures: Any = 1) -> Iterator[Patch]:
        """Submit what the form holds and follow it; a refusal changes nothing but the notice.

        visitor: the token of the visitor's browser; one that has none gets one here. pictures: how many.
        """
        token = visitor or new_visitor()
        try:
            job_id = self._submit(settings_from(values), token, pictures_of(pictures))
        except GspnError as refusal:
            yield refused(refusal) | buttons("done")
            return
        known = {"job": job_id} | ({} if visitor else {"visitor": token})
        yield known | {"notice": notice()}
        for patch in self.follow(job_id, token):
            yield known | patch

    def both(self, values: Sequence[Any], visitor: str | None = None) -> Iterator[Patch]:
        """Run what the form holds, then the same with the other token mixing; the screen compares them."""
        token = visitor or new_visitor()
        try:
            pair = submit_both(self._jobs, settings_from(values), token)
        except GspnError as refusal:
            yield refused(refusal) | buttons("done")
            return
        yield ({} if visitor else {"visitor": token}) | {"notice": notice()}
        yield from follow_both(self._jobs, pair, token, self.follow)

    def _submit(self, settings: Settings, token: str, pictures: int) -> str:
        """Submit settings and return the first run's id; an open seed is that of the visitor's sketch."""
        instant = self._jobs.instant
        plan = instant.plan_of(settings, token)
        if pictures != 1:
            asked = settings if plan is None else plan.settings
            options = {"visitor": token, "seed_drawn": plan is not None}
            job_id, *_ = self._jobs.batches.submit(asked, pictures, **options)
        elif plan is None:
            return self._jobs.submit(settings, visitor=token)
        else:
            job_id = self._jobs.submit(plan, visitor=token, seed_drawn=True)
        if plan is not None:
            instant.set_used(token)
        return job_id

    def follow(
        self, job_id: str | None, visitor: str | None = None, *, restored: bool = False
    ) -> Iterator[Patch]:
        """Tell what changes while a run and its batch go on, from their present state to their end."""
        try:
            with closing(self._views(job_id, visitor)) as views:
                for view, batch in views:
                    # Whole each time: of patches that come close together a browser applies the last alone,
                    # and what did not change is not sent.
                    shown = self._screen(view, restored=restored, batch=batch)
                    patch = {"screen": shown} | self._next_to_run(leading(view, batch), view, visitor)
                    yield patch if view.id == job_id else patch | {"job": view.id}
        except GspnError:
            yield self.lost() | {"notice": notice(studio_strings.LOST_RUN)}

    def _views(
        self, job_id: str | None, visitor: str | None
    ) -> Iterator[tuple[RunView, tuple[RunView, ...]]]:
        # A generator of our own, so that there is something to close however jobs hand their views out.
        yield from followed(self._jobs, job_id or "", visitor or "")

    def _next_to_run(self, leads: RunView, view: RunView, visitor: str | None) -> Patch:
        """Return the notice of a run and the buttons; who watches another's run may start one as well."""
        if self._jobs.is_of_another(leads.id, visitor or ""):
            return {"notice": notice(studio_strings.WATCHING)} | buttons("done")
        return {"notice": notice_of(view)} | buttons_of(leads)

    def _screen(self, view: RunView, **shown: Any) -> dict[str, Any]:
        return screen_props(view, self._card, self._jobs, **shown)

    def lost(self) -> Patch:
        """Return the page as it is before any run."""
        return {"screen": self.outline_of(initial_values(self._card)), "job": None} | buttons("done")

    def restore(
        self,
        asked_for: str | None,
        remembered: str | None,
        visitor: str | None = None,
        query: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[Patch]:
        """Bring back the run that the address names, or the settings in it, or the last run, or an example.

        Args:
            asked_for: The run in the address.
            remembered: The run that this browser had last.
            visitor: The token of the visitor's browser; one that has none gets one here.
            query: All parameters of the address.
        """
        yield {"masthead": self.masthead()} | ({} if visitor else {"visitor": new_visitor()})
        linked = None if asked_for else self._linked(query)
        if linked is not None:
            yield linked
            return
        job_id = asked_for or remembered
        if not job_id or self._is_example(job_id):
            yield from self._example(job_id if asked_for else None)
            return
        try:
            view = self._jobs.view(job_id)
        except GspnError:
            # A run that the address names was asked for; one that was merely remembered is let go in silence.
            yield self.lost() | {"notice": notice(studio_strings.LOST_RUN if asked_for else "")}
            return
        # The form is filled once, and not again over what is typed while the run goes on.
        known = {"job": job_id} | self._fields(view, self._jobs.batches.views(view, visitor or ""))
        for patch in self.follow(job_id, visitor, restored=True):
            yield known | patch
            known = {"job": job_id}

    def _linked(self, query: Mapping[str, str]) -> Patch | None:
        """Return the form filled with the settings in an address, None where there are none."""
        try:
            held = settings_in(query, self._card)
        except BadSetting as refusal:
            return self.lost() | refused(refusal)
        if held is None:
            return None
        return {**held, "job": None, "screen": self.outline_of(held), "notice": notice(studio_strings.LINKED)}

    def _example(self, job_id: str | None) -> Iterator[Patch]:
        """Show an example, the first that there is where none is named; nothing changes where none is."""
        there = [example["job"] for example in self.gallery()]
        shown = job_id if job_id in there else next(iter(there), None)
        if shown is not None:
            yield self.open(shown)

    def _is_example(self, job_id: str) -> bool:
        # One of another model, which was on the screen before this one was chosen, is none of its runs.
        return job_id in self._examples or is_example(job_id)

    def gallery(self) -> list[dict[str, str | None]]:
        """Return the examples that there are: the run of each, its prompt and its small picture."""
        shown = []
        for example in self._examples:
            with suppress(GspnError):
                view = self._jobs.view(example)
                thumb = file_url(str(self._jobs.thumb_file(example)))
                shown.append({"job": example, "prompt": view.settings["prompt"], "thumb": thumb})
        return shown

    def open(
        self,
        job_id: str,
        visitor: str | None = None,
        *,
        restored: bool = True,
        with_form: bool = True,
    ) -> Patch:
        """Show a run, with its settings in the form; the screen then asks to follow it."""
        try:
            view = self._jobs.view(job_id)
        except GspnError:
            return {"notice": notice(studio_strings.LOST_RUN)}
        restored = restored and not self._is_example(job_id)
        batch = self._jobs.batches.views(view, visitor or "")
        goes_on = not leading(view, batch).is_final
        patch = {
            "job": job_id,
            "screen": self._screen(view, restored=restored, follow=goes_on, batch=batch),
        }
        patch |= self._next_to_run(leading(view, batch), view, visitor)
        return patch | (self._fields(view, batch) if with_form else {})

    def look(self, job_id: str, visitor: str | None = None) -> Patch:
        """Show a run as it stands now, and leave the form; one that goes on is then followed."""
        return self.open(job_id, visitor, restored=False, with_form=False)

    def resume(self, job_id: str, visitor: str | None) -> Patch:
        """Take a run up again from its last finished stage and show it."""
        return self._again(lambda: self._jobs.resume(job_id, visitor=visitor or ""), visitor)

    def vary(self, job_id: str, visitor: str | None) -> Patch:
        """Draw variations of a run's first stage and show the first of them."""
        return self._again(lambda: self._jobs.batches.vary(job_id, visitor=visitor or "")[0], visitor)

    def extend(self, job_id: str, target: int, visitor: str | None) -> Patch:
        """Go on with a run to a higher target and show it."""
        return self._again(lambda: self._jobs.extend(job_id, target, visitor=visitor or ""), visitor)

    def redo(self, job_id: str, stage: int, values: Sequence[Any], visitor: str | None) -> Patch:
        """Run a run's stages from one on again as the form asks; the form stays as it is."""

        def again() -> str:
            return self._jobs.redo(job_id, stage, settings_from(values), visitor=visitor or "")

        return self._again(again, visitor, with_form=False)

    def _again(self, submit: Callable[[], str], visitor: str | None, *, with_form: bool = True) -> Patch:
        try:
            job_id = submit()
        except GspnError as refusal:
            return refused(refusal)
        # Of a batch the form asks for another one, whichever picture goes on.
        with_form = with_form and not self._jobs.view(job_id).batch
        return self.open(job_id, visitor, restored=False, with_form=with_form)

    def _fields(self, view: RunView, batch: Sequence[RunView]) -> Patch:
        """Return what asks for a run again, or for the batch that it is a picture of."""
        if self._is_example(view.id):
            # The form's own settings draw one in the time that the page promises.
            return {"prompt": view.settings["prompt"]}
        asked, pictures = view.settings, 1
        if view.picture and len(batch) > 1 and not view.settings.get("variation_strength"):
            asked, pictures = batch[0].settings, len(batch)
        fields = dict(zip(FIELD_NAMES, values_of(asked, self._card), strict=True)) | {"pictures": pictures}
        # A drawn seed is not what was asked for; leaving it out keeps the next run a new one.
        return fields | ({"seed": ""} if view.seed_drawn else {})

    def stop(self, job_id: str | None, visitor: str | None, *, after_stage: bool = False) -> Patch:
        """Ask a run to stop, at once or after its present stage; its follower shows how it ends."""
        try:
            if after_stage:
                self._jobs.stop(job_id or "", visitor=visitor or "", after_stage=True)
            else:
                self._jobs.batches.stop(job_id or "", visitor=visitor or "")
        except NotOwner as refusal:
            return refused(refusal)
        except GspnError:
            return {"notice": notice(studio_strings.LOST_RUN)} | buttons("done")
        return {"notice": notice()}

    def reuse_seed(self, job_id: str | None) -> Patch:
        """Put the last run's seed into the form."""
        try:
            return {"seed": str(self._jobs.view(job_id or "").settings["seed"]), "notice": notice()}
        except GspnError:
            return {"seed": "", "notice": notice(studio_strings.NO_SEED_YET)}

    def forecast(self, values: Sequence[Any], pictures: Any = 1) -> Forecast:
        """Return what a run of form values would be. pictures: how many; what cannot be counts as one."""
        try:
            count = pictures_of(pictures)
        except BadSetting:
            count = 1
        return forecast(values, self._card, self._jobs, count if 1 <= count <= MOST_PICTURES else 1)

    def outline(self, job_id: str | None, ahead: Forecast) -> Patch:
        """Say what the next run would reuse; redraw the empty stages unless the screen shows a run.

        The stages go to the screen through another part. Of values of one part that come close together a
        browser applies the last alone, so that here they would swallow the last word on a run.
        """
        tiles = {"tiles": tile_map(ahead.plan, self._jobs, job_id)}
        if job_id:
            # The cards are the run's on the screen; what is wrong with the next one is said next to Run.
            return {"ahead": {**ahead_props(ahead, with_issue=True), **tiles}}
        return {"ahead": {**ahead_props(ahead), **tiles, "outline": self._empty_screen(ahead)}}

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
        before = held[name] if is_plain(held[name]) else value
        said = studio_strings.suggestion_taken(name, value, before)
        return {name: value, "notice": notice(said, undo={name: before})}

    def preset(self, sent: Any, values: Sequence[Any]) -> Patch:
        """Fill in the settings of a preset, and tell how that is undone."""
        name = read(Preset, sent).name
        own = preset_values(self._card).get(name)
        if own is None:
            return {"notice": notice(studio_strings.NO_SUGGESTION, tone="error")}
        said = form_strings.preset_taken(form_strings.PRESETS[name], does(own))
        return {**own, "notice": notice(said, undo=held_of(values, own))}

    def reset(self, values: Sequence[Any]) -> Patch:
        """Give every field but the prompt, the seed and the init image the value that it had at first."""
        first = {name: value for name, value in initial_values(self._card).items() if name not in KEPT}
        changed = changed_settings(values, self._card)
        return {**first, "notice": notice(studio_strings.WAS_RESET, undo=held_of(values, changed) or None)}

    def undo(self, sent: Any) -> Patch:
        """Give fields back the values that they had before a suggestion, a preset or a reset."""
        asked = read(Before, sent).values
        known = set(asked) <= set(FIELD_NAMES) - KEPT and all(map(is_plain, asked.values()))
        if not asked or not known:
            return {"notice": notice(studio_strings.NO_SUGGESTION, tone="error")}
        return {**asked, "notice": notice()}

    def masthead(self) -> dict[str, Any]:
        """Return what changes at the top: what the model runs on, or how far its reading is."""
        return masthead_props(self._machine(), self._reading(), self._issue())


def new_visitor() -> str:
    """Return an unguessable token for a browser that has none."""
    return secrets.token_urlsafe(24)
