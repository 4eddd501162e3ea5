"""The picture that a run starts from: chosen, dropped, pasted or sent from a run; drawn by start.js.

The form holds the picture's reference; the server keeps the picture under it.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal
from pydantic import Field

from gspn_core.errors import BadSetting, GspnError
from gspn_core.extension import MAX_EXTEND_CHARACTERS, MAX_EXTEND_PERCENT, parse_extension
from gspn_core.images.load import MAX_FILE_BYTES
from gspn_core.planning.plan import make_plan
from gspn_core.planning.types import ModelCard
from gspn_core.region import MAX_REGION_CHARACTERS, parse_region
from gspn_core.runs.queue import RunQueue
from gspn_core.setting_values import start_size
from gspn_core.settings import Settings
from ui.guard.files import file_url
from ui.guard.payload import Name, Payload, Whole, read, visitor_of
from ui.shared.gradio_private import sent_with
from ui.shared.part import html_part
from ui.shared.strings import form_strings, labels, units

# Enough noise for another object, little enough for the same light.
REGION_STRENGTH = 0.8
# What is there before is a mirror image, which must not show through.
EXTEND_STRENGTH = 0.95
# What is shown of the form only where a run starts from a picture.
SHOWN_WITH_PICTURE = ("start_px", "start_strength", "region", "region_feather", "extend")


def build_start() -> gr.HTML:
    """Draw the part into the open gradio block."""
    most_percent = MAX_EXTEND_PERCENT
    return html_part("form", "start", start_props(), most_bytes=MAX_FILE_BYTES, most_percent=most_percent)


def wire_start(parts: dict[str, Any], jobs: RunQueue, card: ModelCard) -> None:
    """Let a picture be handed in, set_from_run from and let go, and the part follow what the form holds."""
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    part, reference, target = parts["starting"], parts["start"], parts["target"]
    held_by = [reference, target, parts["visitor"]]
    with_picture = [parts[name] for name in SHOWN_WITH_PICTURE]

    def take(event: gr.EventData, held: Any, at: Any, visitor: Any) -> list[Any]:
        return taken(jobs, card, sent_with(event), _text(held), at, visitor_of(visitor))

    def init_image(event: gr.EventData, held: Any, at: Any, visitor: Any) -> list[Any]:
        return set_from_run(jobs, card, sent_with(event), _text(held), at, visitor_of(visitor))

    def with_region(event: gr.EventData, held: Any, strength: Any) -> list[Any]:
        return set_region(jobs, sent_with(event), _text(held), strength)

    def with_extension(event: gr.EventData, held: Any, strength: Any, at: Any) -> list[Any]:
        return set_extension(jobs, card, sent_with(event), _text(held), strength, at)

    def show_held(held: Any) -> list[Any]:
        shown = _text(held)
        return [start_props(jobs, shown), *(gr.update(visible=bool(shown)) for _ in with_picture)]

    part.take(take, held_by, [part, reference, target], **quiet)
    part.init_image(init_image, held_by, [part, reference, target, parts["prompt"]], **quiet)
    part.region(
        with_region,
        [reference, parts["start_strength"]],
        [part, parts["region"], parts["start_strength"]],
        **quiet,
    )
    part.extend(
        with_extension,
        [reference, parts["start_strength"], target],
        [part, parts["extend"], parts["start_strength"], target],
        **quiet,
    )
    # Without a picture its other settings mean nothing, and would be refused unseen.
    part.remove(removed, None, [part, reference, *with_picture], **quiet)
    reference.change(show_held, reference, [part, *with_picture], trigger_mode="always_last", **quiet)


def start_props(jobs: RunQueue | None = None, reference: str = "", *, error: str = "") -> dict[str, Any]:
    """Return what the part shows of a reference: a thumb and its size, or why there is none."""
    shown = {"reference": "", "thumb": None, "size": "", "error": error}
    if not reference or jobs is None:
        return shown
    try:
        path = jobs.start_proxy(reference)
        height, width = start_size(reference)
    except GspnError as refusal:
        return {**shown, "reference": reference, "error": error or str(refusal)}
    gone = "" if path else form_strings.START_GONE
    thumb = file_url(str(path)) if path else None
    return {"reference": reference, "thumb": thumb, "size": units.size(height, width), "error": error or gone}


class _Sent(Payload):
    """A file that was sent here before, and what it is called."""

    path: Name = ""
    name: Name = ""


class _Drawn(Payload):
    """A region, as `gspn_core.region` reads it."""

    text: Annotated[str, Field(max_length=MAX_REGION_CHARACTERS)] = ""


class _Extended(Payload):
    """What is added at the sides, as `gspn_core.extension` reads it."""

    text: Annotated[str, Field(max_length=MAX_EXTEND_CHARACTERS)] = ""


class _Stage(Payload):
    """A run and one of its stages."""

    job: Name = ""
    stage: Whole = -1


def _text(held: Any) -> str:
    """Return the reference that a form holds, "" for what is none."""
    return held[:100] if isinstance(held, str) else ""


def taken(jobs: RunQueue, card: ModelCard, sent: Any, held: str, target: Any, visitor: str = "") -> list[Any]:
    """Return part, reference and target once a file that was sent here is read; a refusal changes nothing."""
    asked = read(_Sent, sent)
    target = target if target in card.targets else card.targets[0]
    try:
        reference = kept_start(jobs, sent, asked.name or form_strings.DROP_NAMELESS, visitor)
    except GspnError as refusal:
        return [answered(start_props(jobs, held, error=str(refusal))), gr.skip(), gr.skip()]
    # The first stage alone has no larger size.
    higher = card.targets[1] if target == card.targets[0] and len(card.targets) > 1 else target
    return [answered(start_props(jobs, reference)), reference, higher]


def set_region(jobs: RunQueue, sent: Any, held: str, strength: Any) -> list[Any]:
    """Return part, region and a denoising strength that redraws it; a refusal changes nothing."""
    try:
        region = parse_region(read(_Drawn, sent).text)
    except GspnError as refusal:
        return [answered(start_props(jobs, held, error=str(refusal))), gr.skip(), gr.skip()]
    kept = isinstance(strength, (int, float)) and strength > 0
    drawn = "" if region is None else str(region)
    return [answered(start_props(jobs, held)), drawn, gr.skip() if kept or not drawn else REGION_STRENGTH]


def set_extension(
    jobs: RunQueue, card: ModelCard, sent: Any, held: str, strength: Any, target: Any
) -> list[Any]:
    """Return part, extension, a denoising strength that draws it and a target that has room for it.

    A refusal changes nothing.
    """
    try:
        extension = parse_extension(read(_Extended, sent).text)
        drawn = "" if extension is None else str(extension)
        target = _with_room(held, drawn, target, card) if drawn and held else gr.skip()
    except GspnError as refusal:
        error = labels.said(str(refusal))
        return [answered(start_props(jobs, held, error=error)), gr.skip(), gr.skip(), gr.skip()]
    kept = isinstance(strength, (int, float)) and strength > 0
    strength = gr.skip() if kept or not drawn else EXTEND_STRENGTH
    return [answered(start_props(jobs, held)), drawn, strength, target]


def _with_room(held: str, extend: str, target: Any, card: ModelCard) -> Any:
    """Return the largest target up to the present one that an extended picture fits; raise BadSetting."""
    refusal, prompt = None, next(iter(card.examples), "a")
    for px in sorted((px for px in card.targets if px <= (target or 0)), reverse=True) or card.targets[:1]:
        asked = Settings(prompt=prompt, start=held, start_strength=EXTEND_STRENGTH, extend=extend, target=px)
        try:
            make_plan(asked, card)
        except BadSetting as refused:
            refusal = refusal or refused
        else:
            return gr.skip() if px == target else px
    raise refusal


def answered(shown: dict[str, Any]) -> dict[str, Any]:
    """Return what the part shows as a new answer: the same picture twice would be no news to it."""
    return {**shown, "turn": time.monotonic_ns()}


def removed() -> list[Any]:
    """Return part, reference and the settings next to it as they are without a picture."""
    blank = Settings(prompt="a")
    hidden = (gr.update(value=getattr(blank, name), visible=False) for name in SHOWN_WITH_PICTURE)
    return [start_props(), "", *hidden]


def kept_start(jobs: RunQueue, sent: Any, name: str, visitor: str = "") -> str:
    """Return the reference of a picture that was sent to gradio's upload folder; the file itself goes.

    sent: its `path` there. Raises GspnError for what is not such a file or not an image.
    """
    name, path = Path(name).name[:80], Path(read(_Sent, sent).path)
    # A path that somebody made up could name any file of this machine.
    if not is_upload(path):
        raise BadSetting("start", form_strings.not_whole(name))
    try:
        return jobs.take_start(path, name, visitor=visitor)
    finally:
        path.unlink(missing_ok=True)


def is_upload(path: Path) -> bool:
    """Tell whether a path is a file in gradio's upload folder itself, not only by a link there."""
    try:
        return is_in_or_equal(path.resolve(), Path(get_upload_folder()).resolve()) and path.is_file()
    except (OSError, ValueError):
        return False


def set_from_run(
    jobs: RunQueue, card: ModelCard, sent: Any, held: str, target: Any, visitor: str = ""
) -> list[Any]:
    """Return part, reference, a target above it and the prompt, to use a run's stage as init image."""
    asked = read(_Stage, sent)
    try:
        reference = jobs.start_from(asked.job, asked.stage, visitor=visitor)
        prompt = str(jobs.view(asked.job).settings.get("prompt", ""))
    except GspnError as refusal:
        return [start_props(jobs, held, error=str(refusal)), gr.skip(), gr.skip(), gr.skip()]
    side = math.sqrt(math.prod(start_size(reference)))
    # A stage's sides are rounded, and its area with them.
    higher = [px for px in card.targets if px > side * 1.2]
    above = target if target in higher else (higher or card.targets[-1:])[0]
    return [start_props(jobs, reference), reference, above, prompt]
