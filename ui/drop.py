"""Settings from a picture's own text: dropped, pasted or chosen; only its first bytes come to the server."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from gspn_core.errors import BadSetting, GspnError
from gspn_core.jobs.images import versions
from gspn_core.jobs.metadata import Recipe, recipe_of
from gspn_core.jobs.png_text import read_png_head
from gspn_core.jobs.worker import Jobs
from gspn_core.plan import ModelCard
from gspn_core.settings import FIELD_NAMES
from ui import words
from ui.form import Form, initial_values, values_of
from ui.part import html_part

# The bytes before a PNG's pixels: two texts of at most 256 KiB and whatever other tools put between them.
MOST_HEAD_BYTES = 1024 * 1024
_BAND_BYTES = 1024 * 1024


def build_drop() -> gr.HTML:
    """Draw the part into the open gradio block."""
    return html_part("drop", drop_props(), most_bytes=MOST_HEAD_BYTES)


def wire_drop(parts: dict[str, Any], form: Form, jobs: Jobs, card: ModelCard) -> None:
    """Let a picture fill the form, the form come back, and a reproduction be held against the picture."""
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    part = parts["drop"]

    def read(event: gr.EventData, *held: Any) -> list[Any]:
        return read_picture(_told(event), held, card)

    def undo(event: gr.EventData) -> list[Any]:
        return [drop_props(said=words.DROP_UNDONE), *restored(_told(event), card)]

    def check(event: gr.EventData) -> dict[str, Any]:
        return checked(jobs, _told(event))

    part.read(read, form.inputs, [part, *form.inputs], preprocess=False, **quiet)
    part.undo(undo, None, [part, *form.inputs], **quiet)
    part.check(check, None, part, trigger_mode="multiple", **quiet)


def _told(event: gr.EventData) -> dict[str, Any]:
    data = event._data
    return data if isinstance(data, dict) else {}


def drop_props(
    *,
    said: str = "",
    notes: Sequence[str] = (),
    error: str = "",
    before: Sequence[Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return what the part shows. before: what the form held, so that it can come back."""
    shown = {"said": said, "notes": list(notes), "error": error, "stage": None, "sha256": None, "check": ""}
    return {**shown, "before": None if before is None else list(before), **more}


def read_picture(asked: Mapping[str, Any], held: Sequence[Any], card: ModelCard) -> list[Any]:
    """Return the part and the form's values for the head of a picture; a refusal leaves the form as it is."""
    name = Path(str(asked.get("name") or words.DROP_NAMELESS)).name[:80]
    try:
        recipe = recipe_of(read_png_head(_head(asked.get("head"), name), name), card, versions())
    except BadSetting as refusal:
        return [drop_props(error=str(refusal)), *(gr.skip() for _ in FIELD_NAMES)]
    values = values_of(recipe.settings, card)
    if not recipe.is_ours:
        # Another tool knows only some of our settings; the others stay as they stand, valid or not.
        stay = [name not in recipe.settings for name in FIELD_NAMES]
        values = [old if keep else new for old, new, keep in zip(held, values, stay, strict=True)]
    shown = drop_props(
        said=words.picture_read(name, recipe.stage),
        notes=_notes(recipe),
        before=held,
        stage=recipe.stage,
        sha256=asked.get("sha256") if recipe.is_ours else None,
        name=name,
    )
    return [shown, *values]


def restored(asked: Mapping[str, Any], card: ModelCard) -> list[Any]:
    """Return the values that the form held before; as they are at first where they are no such values."""
    before = asked.get("before")
    if not isinstance(before, list) or len(before) != len(FIELD_NAMES):
        return values_of(initial_values(card), card)
    return before


def checked(jobs: Jobs, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part with what a reproduction came to; `check` is "wait" until the PNG is written.

    asked: job and stage of the reproduction, sha256 of the picture, and what the part shows.
    """
    shown = asked.get("shown")
    shown = {**drop_props(), **(shown if isinstance(shown, dict) else {})}
    stage = asked.get("stage")
    try:
        stages = jobs.view(str(asked.get("job"))).stages
    except GspnError:
        return {**shown, "check": ""}
    if not isinstance(stage, int) or not 0 <= stage < len(stages) or not stages[stage].png_path:
        return {**shown, "check": "wait"}
    if _sha256(Path(stages[stage].png_path)) != asked.get("sha256"):
        return {**shown, "check": words.DROP_DIFFERS}
    return {**shown, "check": words.DROP_SAME_REUSED if stages[stage].reused else words.DROP_SAME}


def _notes(recipe: Recipe) -> list[str]:
    notes = [] if recipe.is_ours else [words.DROP_OTHER_TOOL]
    notes += map(words.said, recipe.refused)
    if recipe.unknown:
        notes.append(words.not_taken(recipe.unknown))
    if recipe.differing:
        notes.append(words.made_with(recipe.differing))
    return notes


def _head(text: Any, name: str) -> bytes:
    if not isinstance(text, str) or len(text) > MOST_HEAD_BYTES * 4 // 3 + 4:
        raise BadSetting("picture", words.head_too_large(name, MOST_HEAD_BYTES // 1024))
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadSetting("picture", words.not_whole(name)) from None


def _sha256(path: Path) -> str | None:
    seal = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while band := stream.read(_BAND_BYTES):
                seal.update(band)
    except OSError:
        return None
    return seal.hexdigest()
