"""What of Gradio has no public name: the only place that reads or sets it."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.blocks import BlocksConfig


def sent_with(event: gr.EventData | None) -> Any:
    """Return the detail that a part's script triggered an event with, None for none."""
    return getattr(event, "_data", None)


def rest_between_looks(page: gr.Blocks, *, queue_seconds: float, progress_seconds: float) -> None:
    """Set how long a page's queue sleeps between two looks for events and for gr.Progress.

    Gradio's own are 1 ms and 10 ms, which costs a run on two cores some of its time.
    """
    page._queue.sleep_when_free = queue_seconds
    page._queue.progress_update_sleep_when_free = progress_seconds


def keep_no_statistics(page: gr.Blocks) -> None:
    """Let the queue not record its events.

    Gradio makes a table of the last 10,000 after each of them, 8 to 16 ms of the interpreter's lock, and
    shows it at an address that is not served.
    """
    page._queue.ANALYTICS_MAX_EVENTS = 0


class _OfASession(BlocksConfig):
    @staticmethod
    def config_for_block(*_arguments: Any, **_options: Any) -> dict[str, Any]:
        """Return nothing: only links that hold a session's values read it; this page has none."""
        return {}


class _OfThePage(BlocksConfig):
    def __copy__(self) -> BlocksConfig:
        copied = super().__copy__()
        copied.__class__ = _OfASession
        return copied


def keep_sessions_light(page: gr.Blocks) -> None:
    """Let a new visitor's session start without the configuration of every component.

    Gradio makes it for each session on the event loop, 13 ms of this page in which no one else is answered.
    """
    page.default_config.__class__ = _OfThePage


def has_stream(page: gr.Blocks, *, event: str) -> bool:
    """Return whether the answers of an event that was begun can be read or still come."""
    queue = page._queue
    found = queue.event_ids_to_events.get(event)
    held = (one for one, ids in queue.pending_event_ids_session.items() if event in ids)
    # An event that came without a session has its own id as one.
    session = found.session_hash if found else next(held, event)
    messages = queue.pending_messages_per_session.get(session)
    if messages is None:
        return False
    # A stream of which all was read would wait for good.
    return bool(queue.pending_event_ids_session.get(session)) or not messages.empty()
