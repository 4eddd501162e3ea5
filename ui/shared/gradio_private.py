"""What of Gradio has no public name: the only place that reads or sets it."""

from __future__ import annotations

from typing import Any

import gradio as gr


def sent_with(event: gr.EventData | None) -> Any:
    """Return the detail that a part's script triggered an event with, None for none."""
    return getattr(event, "_data", None)


def rest_between_looks(page: gr.Blocks, *, queue_seconds: float, progress_seconds: float) -> None:
    """Set how long a page's queue sleeps between two looks for events and for gr.Progress.

    Gradio's own are 1 ms and 10 ms, which costs a run on two cores some of its time.
    """
    page._queue.sleep_when_free = queue_seconds
    page._queue.progress_update_sleep_when_free = progress_seconds
