"""Every run that is kept: whose it is, what its owner says of it, what it weighs, and which go first.

A visitor is known by a token that only the visitor's browser holds; kept is its SHA-256, the owner. Whoever
has a run's id may look at it; only its owner stops it, lists it, notes, favours and removes it. A run without
an owner is in no list and stays as it is; whoever has its id may stop it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gspn_core.errors import BadSetting, GspnError, NotOwner
from gspn_core.jobs.files import write_failure
from gspn_core.jobs.job import JobView
from gspn_core.jobs.locks import OrderedLock
from gspn_core.jobs.records import valid_text
from gspn_core.jobs.store import Store, unknown_job

MAX_NOTE_CHARACTERS = 2000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run as a list shows it. height and width are those of the last finished stage, 0 where there is none.

    created: seconds since 1970. seconds: of work so far. bytes: of all its files, as last weighed.
    """

    id: str
    created: float
    state: str
    prompt: str
    settings: dict[str, Any]
    stages: int
    stages_done: int
    height: int
    width: int
    planned_height: int
    planned_width: int
    seconds: float
    thumb_path: str | None
    favourite: bool
    note: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class _Entry:
    view: JobView
    owner: str = ""
    favourite: bool = False
    note: str = ""
    bytes: int = 0

    def about(self) -> dict[str, Any]:
        return {"owner": self.owner, "favourite": self.favourite, "note": self.note}


def owner_of(token: str) -> str:
    """Return the owner that a visitor's token stands for; "", nobody, for an empty one."""
    return hashlib.sha256(token.encode()).hexdigest() if token else ""


class Archive:
    """The runs of a store by id, read once and kept up to date; may be used from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = OrderedLock("archive")
        self._entries: dict[str, _Entry] = {}
        for job_id in store.job_ids():
            self._entries[job_id] = _read_entry(store, job_id)

    def view(self, job_id: str) -> JobView:
        """Return a run's view as last taken in; raise GspnError where there is no such run."""
        entry = self._entries.get(job_id)
        if entry is None:
            raise unknown_job(job_id)
        return entry.view

    def open(self, view: JobView, owner: str) -> None:
        """Take in a run if it is new and make its folder; raise OSError where that cannot be written."""
        with self._store.writing(view.id):
            with self._lock:
                entry = self._entries.setdefault(view.id, _Entry(view=_light(view), owner=owner))
            self._store.open_job(view.id)
            self._store.write_about(view.id, entry.about())

    def update(self, view: JobView, *, weigh: bool = False) -> None:
        """Take in a run's newer view; weigh: also look at what its files hold by now.

        A run that is not here, or no longer, stays away.
        """
        weight = self._store.weight(view.id) if weigh else None
        with self._lock:
            entry = self._entries.get(view.id)
            if entry is not None:
                size = entry.bytes if weight is None else weight
                self._entries[view.id] = dataclasses.replace(entry, view=_light(view), bytes=size)

    def history(self, owner: str, *, limit: int, before: float | None = None) -> tuple[RunSummary, ...]:
        """Return an owner's runs, the newest first; before: only those created before that time."""
        if not owner:
            return ()
        with self._lock:
            mine = [entry for entry in self._entries.values() if entry.owner == owner]
        if before is not None:
            mine = [entry for entry in mine if entry.view.created < before]
        mine.sort(key=lambda entry: entry.view.created, reverse=True)
        return tuple(map(self._summary, mine[:limit]))

    def annotate(
        self, job_id: str, owner: str, *, favourite: bool | None = None, note: str | None = None
    ) -> None:
        """Set what its owner says of a run; None leaves it. Raises GspnError for another's run."""
        note = None if note is None else valid_text(note)
        if note is not None and len(note) > MAX_NOTE_CHARACTERS:
            raise BadSetting(
                "note",
                f"note has {len(note):,} characters, at most {MAX_NOTE_CHARACTERS:,} fit; shorten it.",
            )
        with self._store.writing(job_id):
            with self._lock:
                entry = self._own(job_id, owner)
            said = {
                "favourite": entry.favourite if favourite is None else favourite,
                "note": entry.note if note is None else note.strip(),
            }
            try:
                self._store.write_about(job_id, dataclasses.replace(entry, **said).about())
            except OSError as error:
                raise GspnError(write_failure("The note of this run", error)) from error
            with self._lock:
                # Its view may be a newer one by now.
                self._entries[job_id] = dataclasses.replace(self._entries[job_id], **said)

    def starts(self) -> frozenset[str]:
        """Return the references of the pictures that runs start from."""
        with self._lock:
            named = [entry.view.settings.get("start") for entry in self._entries.values()]
        return frozenset(name for name in named if isinstance(name, str) and name)

    def delete(self, job_id: str, owner: str) -> None:
        """Remove a run and its files; raise GspnError for another's."""
        with self._store.writing(job_id):
            with self._lock:
                self._own(job_id, owner)
                del self._entries[job_id]
            self._store.remove_job(job_id)

    def usage(self, owner: str) -> tuple[int, int]:
        """Return the bytes of an owner's runs and of everybody's."""
        with self._lock:
            entries = list(self._entries.values())
        own = sum(entry.bytes for entry in entries if owner and entry.owner == owner)
        return own, sum(entry.bytes for entry in entries)

    def prune(self, keep_bytes: int, is_protected: Callable[[str], bool]) -> tuple[str, ...]:
        """Remove the oldest runs until the rest fit into keep_bytes, never a favourite; return their ids.

        is_protected: asked for an id that is here, with no lock held. What it once denies it must deny ever
        after: a run that has ended does not begin again.
        """
        with self._lock:
            entries = sorted(self._entries.values(), key=lambda entry: entry.view.created)
        total = sum(entry.bytes for entry in entries)
        removed = []
        for entry in entries:
            if total <= keep_bytes:
                break
            if not is_protected(entry.view.id) and self._let_go(entry.view.id):
                total -= entry.bytes
                removed.append(entry.view.id)
        return tuple(removed)

    def _let_go(self, job_id: str) -> bool:
        """Remove a run unless it is a favourite by now; tell whether it was removed."""
        with self._store.writing(job_id):
            with self._lock:
                entry = self._entries.get(job_id)
                if entry is None or entry.favourite:
                    return False
                del self._entries[job_id]
            self._store.remove_job(job_id)
        return True

    def _own(self, job_id: str, owner: str) -> _Entry:
        entry = self._entries.get(job_id)
        if entry is None:
            raise unknown_job(job_id)
        if not owner or entry.owner != owner:
            raise NotOwner("Only the browser that started this run can change or remove it.")
        return entry

    def _summary(self, entry: _Entry) -> RunSummary:
        view = entry.view
        done = [stage for stage in view.stages if stage.state == "done"]
        largest, planned = (done or [None])[-1], (view.stages or (None,))[-1]
        thumb = self._store.thumb_file(view.id)
        return RunSummary(
            id=view.id,
            created=view.created,
            state=view.state,
            prompt=str(view.settings.get("prompt", "")),
            settings=view.settings,
            stages=len(view.stages),
            stages_done=len(done),
            height=largest.height if largest else 0,
            width=largest.width if largest else 0,
            planned_height=planned.height if planned else 0,
            planned_width=planned.width if planned else 0,
            seconds=view.elapsed_seconds,
            thumb_path=str(thumb) if thumb.is_file() else None,
            favourite=entry.favourite,
            note=entry.note,
            bytes=entry.bytes,
        )


def _read_entry(store: Store, job_id: str) -> _Entry:
    """Return a run as it is on disk; one whose record is damaged is set aside as failed, and logged.

    Its files stay: they count and go like any other's.
    """
    try:
        view = store.read_job(job_id)
    except GspnError as error:
        _log.warning("%s Until then it is kept as a failed run (%r).", error, error.__cause__)
        view = JobView(id=job_id, created=0.0, state="failed")
    about = store.read_about(job_id)
    owner, note = about.get("owner"), about.get("note")
    return _Entry(
        view=_light(view),
        owner=owner if isinstance(owner, str) else "",
        favourite=about.get("favourite") is True,
        note=note[:MAX_NOTE_CHARACTERS] if isinstance(note, str) else "",
        bytes=store.weight(job_id),
    )


def _light(view: JobView) -> JobView:
    """Return a view without what only a page that follows it draws."""
    return dataclasses.replace(view, preview=None, history=(), weights=())
