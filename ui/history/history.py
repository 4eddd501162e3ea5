"""The visitor's own runs as a list of pictures: what history.js shows, and what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gradio as gr
from pydantic import Field

from gspn_core.errors import GspnError
from gspn_core.runs.archive import RunSummary
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RESUMABLE_STATES
from ui.guard.files import file_url
from ui.guard.payload import Name, Payload, Whole, read, visitor_of
from ui.shared.gradio_private import sent_with
from ui.shared.part import html_part
from ui.shared.strings import history_strings, labels, units

# A search looks through this many of the newest runs; a page of the list is far shorter.
MOST_SEARCHED = 5000
MOST_SHOWN = 3000
PAGE = 60
_LIVE = ("queued", "running")


class Asked(Payload):
    """What a list shows, and the run that is to be changed."""

    limit: Whole = PAGE
    query: str = Field("", max_length=1000)
    starred: bool = False
    job: Name = ""
    favourite: bool | None = None
    note: str | None = None


# The study of a run of the Lab, as its id and its title, by the run's id.
Grids = Mapping[str, tuple[str, str]]


def build_history() -> gr.HTML:
    """Draw the place into the open gradio block; it is filled when it is first entered."""
    return html_part("history", "history", history_props(()))


def wire_history(parts: dict[str, Any], jobs: RunQueue, grids_of: Callable[[str], Grids]) -> None:
    """Let the list ask for runs, keep stars and notes, and remove runs. grids_of: the grids of a visitor."""
    history = History(jobs, grids_of)
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    quiet |= {"trigger_mode": "multiple"}

    def refresh(visitor: str | None, event: gr.EventData) -> dict[str, Any]:
        return history.shown(visitor, sent_with(event))

    def annotate(visitor: str | None, event: gr.EventData) -> dict[str, Any]:
        return history.annotate(visitor, sent_with(event))

    def remove(visitor: str | None, event: gr.EventData) -> dict[str, Any]:
        return history.remove(visitor, sent_with(event))

    part = parts["history"]
    part.refresh(refresh, parts["visitor"], part, **quiet)
    part.annotate(annotate, parts["visitor"], part, **quiet)
    part.remove(remove, parts["visitor"], part, **quiet)


class History:
    """What the list asks for, answered in plain values; `query`, `starred` and `limit` say what it shows."""

    def __init__(self, jobs: RunQueue, grids_of: Callable[[str], Grids] | None = None) -> None:
        self._jobs, self._grids_of = jobs, grids_of

    def shown(self, token: Any, sent: Any, *, said: str = "") -> dict[str, Any]:
        """Return the newest runs of a visitor that hold the query, and what is said over them."""
        asked, visitor = read(Asked, sent), visitor_of(token)
        limit = min(asked.limit, MOST_SHOWN) if asked.limit > 0 else PAGE
        seek = bool(asked.query.strip()) or asked.starred
        runs = self._jobs.history(visitor, limit=MOST_SEARCHED if seek else limit + 1)
        found = matching(runs, asked.query, starred=asked.starred)
        return history_props(
            found,
            limit=limit,
            usage=self._jobs.usage(visitor),
            said=said,
            grids=self._grids_of(visitor) if self._grids_of else {},
        )

    def annotate(self, token: Any, sent: Any) -> dict[str, Any]:
        """Star a run or keep a note of it; a refusal is said in its sentence."""
        asked, visitor = read(Asked, sent), visitor_of(token)
        try:
            self._jobs.annotate(asked.job, visitor, favourite=asked.favourite, note=asked.note)
        except GspnError as refusal:
            return self.shown(visitor, sent, said=str(refusal))
        return self.shown(visitor, sent)

    def remove(self, token: Any, sent: Any) -> dict[str, Any]:
        """Remove a run with its pictures; a refusal is said in its sentence."""
        asked, visitor = read(Asked, sent), visitor_of(token)
        try:
            self._jobs.delete(asked.job, visitor)
        except GspnError as refusal:
            return self.shown(visitor, sent, said=str(refusal))
        return self.shown(visitor, sent)


def matching(runs: Sequence[RunSummary], query: str, *, starred: bool = False) -> list[RunSummary]:
    """Return the runs whose prompt or note holds every word of the query, whatever the case."""
    sought = query.casefold().split()
    return [
        run
        for run in runs
        if (run.favourite or not starred)
        and all(word in f"{run.prompt}\n{run.note}".casefold() for word in sought)
    ]


def history_props(
    runs: Sequence[RunSummary],
    *,
    limit: int = PAGE,
    usage: tuple[int, int, int] = (0, 0, 0),
    said: str = "",
    grids: Grids = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the first `limit` runs, whether there are more, and the disk they take, ready for JSON.

    Runs of one grid or batch are where the newest of them is. usage: the bytes of the visitor's runs, of
    everybody's, and how many there may be.
    """
    more = len(runs) > limit
    listed = runs[:limit]
    groups, known = _groups(listed, grids)
    shown = grouped(listed, groups)
    own, used, quota = usage
    share = min(1.0, used / quota) if quota else 0.0
    return {
        "runs": [{**run_props(run), "group": groups[run.id]} for run in shown],
        "groups": known,
        "more": more,
        "count": history_strings.runs_counted(len(shown), more=more),
        "usage": {"text": history_strings.usage(own, used, quota) if quota else "", "share": share},
        "said": said,
    }


def _groups(runs: Sequence[RunSummary], grids: Grids) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return each run's grid or batch, "" for none, and of each of them its title and where it is shown."""
    batches = _batches(runs)
    of_run, known = {}, {}
    for run in runs:
        study, title = grids.get(run.id, ("", ""))
        of_run[run.id] = study or (run.batch if run.batch in batches else "")
        if study:
            known[study] = {"title": title, "study": study}
        elif run.batch in batches:
            known[run.batch] = batches[run.batch]
    return of_run, known


def _batches(runs: Sequence[RunSummary]) -> dict[str, dict[str, str]]:
    """Return the batches of which several runs are listed: each one's title and its first picture."""
    members: dict[str, list[RunSummary]] = {}
    for run in runs:
        if run.batch:
            members.setdefault(run.batch, []).append(run)
    found = {}
    for batch, own in members.items():
        pictures = sorted((run for run in own if run.picture), key=lambda run: run.picture)
        if len(own) > 1 and pictures:
            seeds = [run.settings.get("seed") for run in pictures]
            title = history_strings.batch(len(pictures), seeds[0], seeds[-1])
            found[batch] = {"title": title, "job": pictures[0].id}
    return found


def grouped(runs: Sequence[RunSummary], groups: Mapping[str, str]) -> list[RunSummary]:
    """Return the runs with those of one group next to each other, where the first of them is.

    The pictures of a batch are in their own order, after what goes on from one of them.
    """
    first: dict[str, int] = {}
    places = []
    for number, run in enumerate(runs):
        place = first.setdefault(groups[run.id] or run.id, number)
        places.append((place, run.picture if groups[run.id] == run.batch else 0, number))
    return [runs[number] for *_, number in sorted(places)]


def run_props(run: RunSummary) -> dict[str, Any]:
    """Return what the list shows of one run. stage: the last that is finished, None where there is none."""
    height, width = run.height or run.planned_height, run.width or run.planned_width
    mixer = str(run.settings.get("mixer") or "")
    facts = [
        history_strings.reached(height, width, run.planned_height, run.planned_width) if height else "",
        labels.CHOICES.get(mixer, mixer),
        history_strings.seed(run.settings.get("seed")),
        units.seconds(run.seconds) if run.seconds else "",
        units.bytes_(run.bytes) if run.bytes else "",
    ]
    return {
        "id": run.id,
        "prompt": run.prompt,
        "state": run.state,
        "state_word": history_strings.RUN_STATES.get(run.state, run.state),
        "facts": [fact for fact in facts if fact],
        "created": run.created,
        # Each stage draws it again, and a browser keeps what has one address.
        "thumb": f"{file_url(run.thumb_path)}?v={run.stages_done}" if run.thumb_path else None,
        "favourite": run.favourite,
        "note": run.note,
        "stage": run.stages_done - 1 if run.stages_done else None,
        "resumable": run.state in RESUMABLE_STATES,
        "live": run.state in _LIVE,
    }
