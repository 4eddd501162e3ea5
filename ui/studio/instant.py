"""Instant: the first stage of what the form holds, drawn while a visitor types and moves sliders.

The part holds the switch and what is said of the last sketch; the sketch itself is shown by screen.js.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gradio as gr

from gspn_core.errors import BadSetting
from gspn_core.images.png import preview_uri
from gspn_core.runs.instant import MOST_FIRST_SECONDS, InstantPicture
from gspn_core.runs.queue import RunQueue
from ui.form.form import Form, settings_from
from ui.guard.payload import Payload, read, visitor_of
from ui.shared.gradio_private import sent_with
from ui.shared.part import html_part
from ui.shared.strings import instant_strings
from ui.studio.forecast import Forecast

_QUALITY = 92
# These pass: the page asks again by itself.
_PASSING = ("busy", "often")


class _Draw(Payload):
    """new_seed: whether another random seed is wanted."""

    new_seed: bool = False


def build_instant(*, offered: bool) -> gr.HTML:
    """Draw the part into the open gradio block; offered: this server draws between runs."""
    return html_part("studio", "instant", {}, visible=offered)


def wire_instant(parts: dict[str, Any], form: Form, jobs: RunQueue) -> None:
    """Let the part ask for a sketch of what the form holds."""

    def draw(event: gr.EventData, visitor: str | None, *values: Any) -> Any:
        asked = read(_Draw, sent_with(event))
        return sketch_of(jobs, values, visitor_of(visitor), new_seed=asked.new_seed)

    part = parts["instant"]
    part.draw(
        draw,
        [parts["visitor"], *form.inputs],
        part,
        # A newer request ends the one before.
        trigger_mode="multiple",
        queue=False,
        show_progress="hidden",
        api_visibility="private",
        preprocess=False,
    )


def offer_props(ahead: Forecast) -> dict[str, str]:
    """Return what a sketch of the form changes with, "" for a form that has none, and why there is none."""
    return {"key": ahead.picture_key, "off": _why_off(ahead)}


def _why_off(ahead: Forecast) -> str:
    if ahead.obstacle is None:
        return ""
    if ahead.obstacle == "slow":
        seconds = ahead.plan.stages[0].seconds
        return instant_strings.too_slow(seconds, MOST_FIRST_SECONDS, ahead.fast_steps)
    return instant_strings.OFF[ahead.obstacle]


def sketch_of(jobs: RunQueue, values: Sequence[Any], visitor: str, *, new_seed: bool = False) -> Any:
    """Return the part with a sketch of form values, or with why there is none; nothing changes for one that
    a newer request has replaced.
    """
    if not visitor:
        return _refused("off")
    try:
        drawn = jobs.instant.draw(settings_from(values), visitor, new_seed=new_seed)
    except BadSetting:
        # The form is not finished yet; what is wrong with it is said when it is run.
        return _refused("off")
    if drawn == "superseded":
        return gr.skip()
    return sketch_props(drawn) if isinstance(drawn, InstantPicture) else _refused(drawn)


def sketch_props(drawn: InstantPicture) -> dict[str, Any]:
    """Return a sketch as screen.js shows it, and what is said of it."""
    height, width = drawn.stage.size.height, drawn.stage.size.width
    sketch = {
        "title": instant_strings.title(height, width),
        "lines": [instant_strings.took(drawn.seconds), instant_strings.RUN_CONTINUES],
        "alt": instant_strings.alt(height, width),
        "height": height,
        "width": width,
        "source": preview_uri(drawn.image, quality=_QUALITY),
    }
    return _answer(
        sketch=sketch,
        spoken=instant_strings.spoken(drawn.seconds),
        said=instant_strings.seed(drawn.stage.settings.seed),
        drawn_seed=drawn.seed_drawn,
    )


def _refused(why: str) -> dict[str, Any]:
    return _answer(said=instant_strings.REFUSED[why], again=why in _PASSING)


def _answer(
    *,
    said: str,
    spoken: str = "",
    sketch: dict[str, Any] | None = None,
    drawn_seed: bool = False,
    again: bool = False,
) -> dict[str, Any]:
    return {
        "sketch": sketch,
        "spoken": spoken,
        "said": said,
        "drawn_seed": drawn_seed,
        "again": again,
        # Makes each answer another one, or the script would not hear of it.
        "moment": time.time(),
    }
