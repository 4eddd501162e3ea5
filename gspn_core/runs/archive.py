"""All stored runs: their owners, notes, favourites and sizes, and which are removed first.

A visitor is identified by a token that only the visitor's browser has; its SHA-256, the owner, is stored.
Anyone with a run's id can view it; only its owner can stop, list, annotate or remove it. A run without an
owner is in no list and cannot be changed; anyone with its id can stop it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gspn_core.errors import BadSetting, GspnError, NotOwner
from gspn_core.files import write_failure
from gspn_core.runs.locks import OrderedLock
from gspn_core.runs.records import MAX_INTEGER, valid_text, why
from gspn_core.runs.run import RunView
from gspn_core.runs.store import Store, unknown_job
from gspn_core.settings import PICTURES

MAX_NOTE_CHARACTERS = 2000
# Shares of the quota for one visitor's favourites, and for all favourites, so that other runs have room.
FAVOURITE_SHARE, FAVOURITES_SHARE = 0.25, 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run as a list shows it.

    height and width are those of the last finished stage in px, 0 if there is none. created: seconds since
    1970. seconds: of work so far. bytes: of all its files, when their size was last read. batch, picture: see
    `RunView`.
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
    batch: str = ""
    picture: int = 0


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A run in memory. order: increases with every run, independent of the clock; None if unknown."""

    view: RunView
    order: int | None = None
    owner: str = ""
    favourite: bool = False
    note: str = ""
    bytes: int = 0

    @property
    def place(self) -> tuple[int, float]:
        """Return the sort key; runs of versions without an order come first, by their time."""
        return (-1 if self.order is None else self.order, self.view.created)

    def about(self) -> dict[str, Any]:
        return {"order": self.order, "owner": self.owner, "favourite": self.favourite, "note": self.note}


def owner_of(token: str) -> str:
    """Return the owner that a visitor's token stands for: "" (no owner) for an empty token."""
    return hashlib.sha256(token.encode()).hexdigest() if token else ""


class Archive:
    """The runs of a store by id, read once and kept up to date. Thread-safe."""

    def __init__(self, store: Store, *, quota_bytes: int | None = None) -> None:
        """Read the runs of a store. quota_bytes: favourites may have shares of it; None for no limit."""
        self._store = store
        self._quota_bytes = quota_bytes
        self._lock = OrderedLock("archive")
        self._entries: dict[str, _Entry] = {}
        for job_id in store.job_ids():
            self._entries[job_id] = _read_entry(store, job_id)
        known = (entry.order for entry in self._entries.values() if entry.order is not None)
        self._next_order = max(known, default=0) + 1

    def view(self, job_id: str) -> RunView:
        """Return a run's latest view; raise GspnError if there is no such run."""
        entry = self._entries.get(job_id)
        if entry is None:
            raise unknown_job(job_id)
        return entry.view

    def open(self, view: RunView, owner: str) -> None:
        """Add a run if it is new and create its folder; raise OSError if that cannot be written."""
        with self._store.writing(view.id):
            with self._lock:
                if view.id not in self._entries:
                    opened = _Entry(view=_light(view), owner=owner, order=self._next_order)
                    self._entries[view.id] = opened
                    self._next_order += 1
                entry = self._entries[view.id]
            self._store.open_job(view.id)
            self._store.write_about(view.id, entry.about())

    def update(self, view: RunView, *, weigh: bool = False) -> None:
        """Store a run's newer view; weigh: also read the size of its files.

        A run that was removed is not added again.
        """
        weight = self._store.weight(view.id) if weigh else None
        with self._lock:
            entry = self._entries.get(view.id)
            if entry is not None:
                size = entry.bytes if weight is None else weight
                self._entries[view.id] = dataclasses.replace(entry, view=_light(view), bytes=size)

    def history(self, owner: str, *, limit: int, before: float | None = None) -> tuple[RunSummary, ...]:
        """Return an owner's runs, newest first; before: only those created before that time."""
        if not owner:
            return ()
        with self._lock:
            mine = [entry for entry in self._entries.values() if entry.owner == owner]
        if before is not None:
            mine = [entry for entry in mine if entry.view.created < before]
        mine.sort(key=lambda entry: entry.place, reverse=True)
        return tuple(map(self._summary, mine[:limit]))

    def of_batch(self, batch: str, owner: str) -> tuple[str, ...]:
        """Return the ids of an owner's runs that are pictures of a batch."""
        with self._lock:
            return tuple(
                job_id
                for job_id, entry in self._entries.items()
                if entry.view.picture and entry.view.batch == batch and owner and entry.owner == owner
            )

    def annotate(
        self, job_id: str, owner: str, *, favourite: bool | None = None, note: str | None = None
    ) -> None:
        """Set a run's favourite mark or note; None leaves it. Raises GspnError for another owner's run."""
        note = None if note is None else valid_text(note)
        if note is not None and len(note) > MAX_NOTE_CHARACTERS:
            raise BadSetting(
                "note",
                f"note has {len(note):,} characters, at most {MAX_NOTE_CHARACTERS:,} fit; shorten it.",
            )
        with self._store.writing(job_id):
            with self._lock:
                before = self._own(job_id, owner)
                if favourite and not before.favourite:
                    self._refuse_too_many_favourites(before)
                entry = self._say(job_id, favourite=favourite, note=note)
            try:
                self._store.write_about(job_id, entry.about())
            except OSError as error:
                with self._lock:
                    self._say(job_id, favourite=before.favourite, note=before.note)
                raise GspnError(write_failure("The note of this run", error)) from error

    def starts(self) -> frozenset[str]:
        """Return the references of all pictures that runs were given."""
        with self._lock:
            settings = [entry.view.settings for entry in self._entries.values()]
        named = [own.get(name) for own in settings for name in PICTURES]
        return frozenset(name for name in named if isinstance(name, str) and name)

    def delete(self, job_id: str, owner: str) -> RunView:
        """Remove a run and its files and return its last view; raise GspnError for another owner's."""
        with self._store.writing(job_id):
            with self._lock:
                view = self._own(job_id, owner).view
                del self._entries[job_id]
            self._store.remove_job(job_id)
        return view

    def weigh(self, job_id: str) -> None:
        """Read the size of a run's files."""
        weight = self._store.weight(job_id)
        with self._lock:
            if job_id in self._entries:
                self._entries[job_id] = dataclasses.replace(self._entries[job_id], bytes=weight)

    def ids(self) -> frozenset[str]:
        """Return the ids of all runs."""
        with self._lock:
            return frozenset(self._entries)

    def usage(self, owner: str) -> tuple[int, int]:
        """Return the bytes of an owner's runs and of all runs."""
        with self._lock:
            entries = list(self._entries.values())
        own = sum(entry.bytes for entry in entries if owner and entry.owner == owner)
        return own, sum(entry.bytes for entry in entries)

    def prune(self, keep_bytes: int, is_protected: Callable[[str], bool]) -> tuple[RunView, ...]:
        """Remove the oldest runs until the rest fit into keep_bytes; return their last views.

        Favourites within their owner's share of the quota stay; beyond it, the oldest are treated like any
        other run.

        is_protected: called with the id of a run, with no lock held. Once it has returned False for a run it
        must not return True later: a run that has ended does not start again.
        """
        with self._lock:
            entries = sorted(self._entries.values(), key=lambda entry: entry.place)
        starred = self._within_share(entries)
        total = sum(entry.bytes for entry in entries)
        removed = []
        for entry in entries:
            if total <= keep_bytes:
                break
            job_id = entry.view.id
            if job_id not in starred and not is_protected(job_id) and self._let_go(entry):
                total -= entry.bytes
                removed.append(entry.view)
        return tuple(removed)

    def _let_go(self, seen: _Entry) -> bool:
        """Remove a run unless it became a favourite since it was seen; return whether it was removed."""
        job_id = seen.view.id
        with self._store.writing(job_id):
            with self._lock:
                entry = self._entries.get(job_id)
                if entry is None or (entry.favourite and not seen.favourite):
                    return False
                del self._entries[job_id]
            self._store.remove_job(job_id)
        return True

    def _within_share(self, entries: Sequence[_Entry]) -> set[str]:
        """Return the ids of the favourites within their owner's share, newest first."""
        kept, held = set(), Counter()
        for entry in reversed(entries):
            size = held[entry.owner] + entry.bytes
            if entry.favourite and (self._quota_bytes is None or size <= self._quota_bytes * FAVOURITE_SHARE):
                held[entry.owner] = size
                kept.add(entry.view.id)
        return kept

    def _refuse_too_many_favourites(self, more: _Entry) -> None:
        if self._quota_bytes is None:
            return
        starred = [entry for entry in self._entries.values() if entry.favourite]
        own = more.bytes + sum(entry.bytes for entry in starred if entry.owner == more.owner)
        if own > self._quota_bytes * FAVOURITE_SHARE:
            most = _size(self._quota_bytes * FAVOURITE_SHARE)
            raise GspnError(
                f"Your favourites would take {_size(own)}, more than the {most} allowed; "
                "remove another favourite first."
            )
        everything = more.bytes + sum(entry.bytes for entry in starred)
        if everything > self._quota_bytes * FAVOURITES_SHARE:
            most = _size(self._quota_bytes * FAVOURITES_SHARE)
            raise GspnError(
                f"All favourites together would take {_size(everything)}, more than the {most} allowed; "
                "download this run's picture to keep it."
            )

    def _say(self, job_id: str, *, favourite: bool | None, note: str | None) -> _Entry:
        entry = self._entries[job_id]
        self._entries[job_id] = dataclasses.replace(
            entry,
            favourite=entry.favourite if favourite is None else favourite,
            note=entry.note if note is None else note.strip(),
        )
        return self._entries[job_id]

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
            batch=view.batch,
            picture=view.picture,
        )


def _read_entry(store: Store, job_id: str) -> _Entry:
    """Read a run from disk; one with a damaged record becomes a failed run, and is logged.

    Its files stay; they count and are removed like those of any other run.
    """
    try:
        view = store.read_job(job_id)
    except GspnError as error:
        reason = why(error.__cause__ or error)
        _log.warning("The record of run %s is damaged or gone (%s); it counts as failed.", job_id, reason)
        view = RunView(id=job_id, created=0.0, state="failed")
    about = store.read_about(job_id)
    order, owner, note = about.get("order"), about.get("owner"), about.get("note")
    return _Entry(
        view=_light(view),
        order=order if type(order) is int and 0 <= order < MAX_INTEGER else None,
        owner=owner if isinstance(owner, str) else "",
        favourite=about.get("favourite") is True,
        note=note[:MAX_NOTE_CHARACTERS] if isinstance(note, str) else "",
        bytes=store.weight(job_id),
    )


def _size(byte_count: float) -> str:
    """Return a number of bytes as text for a message."""
    return f"{byte_count / 1e9:.1f} GB" if byte_count >= 1e9 else f"{byte_count / 1e6:.1f} MB"


def _light(view: RunView) -> RunView:
    """Return a view without the fields that only a page following it needs."""
    return dataclasses.replace(view, preview=None, history=(), weights=())
