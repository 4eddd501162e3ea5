"""Settings from a picture's own text: dropped, pasted or chosen.

Of a PNG only the texts come to the server; of another picture the file, which is removed once it is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import gradio as gr
from pydantic import Field

from gspn_core.errors import BadSetting, GspnError
from gspn_core.images.load import MAX_FILE_BYTES
from gspn_core.images.metadata import Recipe, recipe_of
from gspn_core.images.other_tools import UnreadText
from gspn_core.images.picture_text import read_texts
from gspn_core.images.png import versions
from gspn_core.images.png_text import KEYWORDS, read_png_head
from gspn_core.planning.costs import MOST_PICTURES
from gspn_core.planning.types import ModelCard
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES
from ui.form.form import Form, initial_values, values_of
from ui.form.start import is_upload
from ui.guard.payload import Items, Name, Payload, Whole, read
from ui.shared.gradio_private import sent_with
from ui.shared.part import html_part
from ui.shared.strings import form_strings, labels

# A PNG without its pixels: our two texts, of at most 256 KiB each, and those of other tools.
MOST_HEAD_BYTES = 1024 * 1024
_BAND_BYTES = 1024 * 1024
Text = Annotated[str, Field(max_length=20_000)]
# What a field of the form may hold.
Value = Text | int | float | None


class HeadAsked(Payload):
    """A PNG without its pixels in base64, None where it is too long, and the whole file's SHA-256.

    path: of a picture of another format, which was uploaded. either: whether a picture that holds no
    settings is to be the init image.
    """

    name: Name = ""
    head: str | None = None
    path: Name = ""
    either: bool = False
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class ShownPart(Payload):
    """What the part shows, as `drop_props` gave it."""

    said: str = Field("", max_length=2000)
    notes: list[Text] = Field([], max_length=100)
    error: str = Field("", max_length=2000)
    stage: int | None = None
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    check: str = Field("", max_length=200)
    before: list[Value] | None = Field(None, max_length=len(FIELD_NAMES))
    name: str = Field("", max_length=200)
    pictures: Whole = 1


class CheckAsked(Payload):
    """A reproduction: the run and the stage, the picture's SHA-256, and what the part shows."""

    job: Name = ""
    stage: Whole = -1
    sha256: Name = ""
    shown: ShownPart = ShownPart()


class UndoAsked(Payload):
    """What the form held before a picture filled it."""

    before: Annotated[list[Value], Items] = []
    pictures: Whole = 1


def build_drop() -> gr.HTML:
    """Draw the part into the open gradio block."""
    return html_part(
        "form",
        "drop",
        drop_props(),
        keywords=list(KEYWORDS),
        most_bytes=MOST_HEAD_BYTES,
        most_file_bytes=MAX_FILE_BYTES,
    )


def wire_drop(parts: dict[str, Any], form: Form, jobs: RunQueue, card: ModelCard) -> None:
    """Let a picture fill the form, the form come back, and a reproduction be held against the picture."""
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    part = parts["drop"]

    def read(event: gr.EventData, *given: Any) -> list[Any]:
        *held, pictures = given
        part, *fields = read_picture(sent_with(event), held, card)
        # Its settings are of one picture.
        return [{**part, "pictures": pictures}, *fields, gr.skip() if part["error"] else 1]

    def undo(event: gr.EventData) -> list[Any]:
        sent = sent_with(event)
        return [drop_props(said=form_strings.DROP_UNDONE), *restored(sent, card), pictures_before(sent)]

    def check(event: gr.EventData) -> dict[str, Any]:
        return checked(jobs, sent_with(event))

    held = [*form.inputs, form.pictures]
    part.read(read, held, [part, *held], preprocess=False, **quiet)
    part.undo(undo, None, [part, *held], **quiet)
    part.check(check, None, part, trigger_mode="multiple", **quiet)


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


def read_picture(sent: Any, values_held: Sequence[Any], card: ModelCard) -> list[Any]:
    """Return the part and the form's values for the head of a picture; a refusal leaves the form as it is."""
    asked, held = read(HeadAsked, sent), held_values(values_held, card)
    name = Path(asked.name or form_strings.DROP_NAMELESS).name[:80]
    kept = False
    try:
        recipe = recipe_of(_texts(asked, name), card, versions())
    except BadSetting as refusal:
        kept = asked.either
        return [_refused(refusal, asked, name), *(gr.skip() for _ in FIELD_NAMES)]
    finally:
        # What becomes the init image is read once more, and goes then.
        if not kept and is_upload(Path(asked.path)):
            Path(asked.path).unlink(missing_ok=True)
    values = values_of(recipe.settings, card)
    if not recipe.is_ours:
        # Another tool knows only some of our settings; the others stay as they stand, valid or not.
        stay = [name not in recipe.settings for name in FIELD_NAMES]
        values = [old if keep else new for old, new, keep in zip(held, values, stay, strict=True)]
    shown = drop_props(
        said=form_strings.picture_read(name, recipe.stage),
        notes=_notes(recipe),
        before=held,
        stage=recipe.stage,
        sha256=asked.sha256 if recipe.is_ours else None,
        check=form_strings.DROP_LOSSY if recipe.is_ours and asked.path else "",
        name=name,
        turn=time.monotonic_ns(),
    )
    return [shown, *values]


def held_values(values: Any, card: ModelCard) -> list[Any]:
    """Return what the form holds as plain values; as it is at first where no form holds them."""
    try:
        held = read(UndoAsked, {"before": list(values)}).before
    except BadSetting:
        return values_of(initial_values(card), card)
    return held


def restored(sent: Any, card: ModelCard) -> list[Any]:
    """Return the values that the form held before; as they are at first where they are no such values."""
    before = read(UndoAsked, sent).before
    return values_of(initial_values(card), card) if len(before) != len(FIELD_NAMES) else before


def pictures_before(sent: Any) -> int:
    """Return how many pictures the form asked for before."""
    return min(max(1, read(UndoAsked, sent).pictures), MOST_PICTURES)


def checked(jobs: RunQueue, sent: Any) -> dict[str, Any]:
    """Return the part with what a reproduction came to; `check` is "wait" until the PNG is written.

    sent: job and stage of the reproduction, sha256 of the picture, and what the part shows.
    """
    asked = read(CheckAsked, sent)
    shown, stage = asked.shown.model_dump(), asked.stage
    try:
        stages = jobs.view(asked.job).stages
    except GspnError:
        return {**shown, "check": ""}
    if not 0 <= stage < len(stages) or not stages[stage].png_path:
        return {**shown, "check": "wait"}
    if _sha256(Path(stages[stage].png_path)) != asked.sha256:
        return {**shown, "check": form_strings.DROP_DIFFERS}
    return {
        **shown,
        "check": form_strings.DROP_SAME_REUSED if stages[stage].reused else form_strings.DROP_SAME,
    }


def _refused(refusal: BadSetting, asked: HeadAsked, name: str) -> dict[str, Any]:
    """Return what the part shows of a picture whose settings are not read, as a new answer each time."""
    made_by = refusal.made_by if isinstance(refusal, UnreadText) else ""
    turn = time.monotonic_ns()
    if not asked.either:
        return drop_props(error=str(refusal), turn=turn)
    return drop_props(said=form_strings.used_as_start(name, made_by), start=True, path=asked.path, turn=turn)


def _notes(recipe: Recipe) -> list[str]:
    notes = [] if recipe.is_ours else [form_strings.imported_from(recipe.tool)]
    notes += map(labels.said, recipe.refused)
    if recipe.markup:
        notes.append(form_strings.plain_words(recipe.markup))
    if recipe.unknown:
        notes.append(form_strings.not_taken(recipe.unknown))
    if recipe.differing:
        notes.append(form_strings.made_with(recipe.differing))
    return notes


def _texts(asked: HeadAsked, name: str) -> dict[str, Any]:
    """Return what the picture says of itself; raise BadSetting."""
    if not asked.path:
        return read_png_head(_head(asked.head, name), name)
    # A path that somebody made up could name any file of this machine.
    if not is_upload(Path(asked.path)):
        raise BadSetting("picture", form_strings.not_whole(name))
    try:
        return read_texts(Path(asked.path), name)
    except OSError:
        raise BadSetting("picture", form_strings.not_whole(name)) from None


def _head(text: Any, name: str) -> bytes:
    if not isinstance(text, str) or len(text) > MOST_HEAD_BYTES * 4 // 3 + 4:
        raise BadSetting("picture", form_strings.head_too_large(name, MOST_HEAD_BYTES // 1024))
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadSetting("picture", form_strings.not_whole(name)) from None


def _sha256(path: Path) -> str | None:
    seal = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while band := stream.read(_BAND_BYTES):
                seal.update(band)
    except OSError:
        return None
    return seal.hexdigest()
