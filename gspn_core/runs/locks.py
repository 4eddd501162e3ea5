"""The order in which the locks of jobs are taken, and locks that enforce it.

    device → measuring → instant → studies → quota → starts → run → queue → archive → cache

A thread takes a lock only while all locks that it holds come before it in this order; two locks of the same
rank are never held together. So threads cannot deadlock, and a mistake raises every time instead of hanging
rarely.

- device: held for the length of a run. measuring: the state of a measurement. instant: the pictures that are
  drawn while a form changes. studies: the lab's studies.
- quota: removing files. starts: init images and their files. run: the files of one run, one lock per run.
- queue: the live runs and the queue. archive: the records of all runs. cache: pictures by stage key.

While queue, archive or cache is held, no disk is accessed and no callback is called.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

ORDER = (
    *("device", "measuring", "instant", "studies", "quota", "starts", "run", "queue", "archive", "cache"),
)
# Locks under which no disk is accessed, since answers to the page wait for them.
MEMORY_ONLY = ("queue", "archive", "cache")
_thread = threading.local()


class LockOrderError(RuntimeError):
    """A lock was taken while a later one was held."""


class OrderedLock:
    """A reentrant lock with a rank in `ORDER`; also works as the lock of a `threading.Condition`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._place = ORDER.index(name)
        self._lock = threading.RLock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock as `threading.Lock.acquire` does; raise LockOrderError if the order is violated."""
        self._check()
        taken = self._lock.acquire(blocking, timeout)
        if taken:
            _held().append(self)
        return taken

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()
        _held().remove(self)

    def __enter__(self) -> OrderedLock:
        self.acquire()
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()

    def _check(self) -> None:
        held = _held()
        if self in held:
            return
        last = max(held, key=lambda lock: lock._place, default=None)
        if last is not None and last._place >= self._place:
            raise LockOrderError(f"lock {self.name} was taken under lock {last.name}; take it before that.")

    # The methods by which a Condition releases a reentrant lock while it waits.
    def _is_owned(self) -> bool:
        return self._lock._is_owned()

    def _release_save(self) -> tuple[Any, int]:
        held = _held()
        count = held.count(self)
        held[:] = [lock for lock in held if lock is not self]
        return self._lock._release_save(), count

    def _acquire_restore(self, state: tuple[Any, int]) -> None:
        self._lock._acquire_restore(state[0])
        _held().extend([self] * state[1])


class KeyedLocks:
    """One lock per key, all of the same rank; a lock exists while it is in use."""

    def __init__(self, name: str) -> None:
        self._name = name
        # Held only while the table is read, so it needs no rank.
        self._table = threading.Lock()
        self._locks: dict[Hashable, tuple[OrderedLock, int]] = {}

    @contextmanager
    def hold(self, key: Hashable) -> Iterator[None]:
        """Hold a key's lock for the length of a `with` block."""
        with self._table:
            lock, users = self._locks.get(key, (None, 0))
            lock = lock or OrderedLock(self._name)
            self._locks[key] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._table:
                users = self._locks[key][1] - 1
                if users:
                    self._locks[key] = lock, users
                else:
                    del self._locks[key]


def held_locks() -> tuple[str, ...]:
    """Return the names of the locks that the current thread holds, in the order in which it took them."""
    return tuple(lock.name for lock in _held())


def _held() -> list[OrderedLock]:
    if not hasattr(_thread, "locks"):
        _thread.locks = []
    return _thread.locks
