"""The parameter lab: one or two settings over many values, a grid of runs. What lab.js shows and asks.

Each answer is known by its `kind`: "setup" (what the axes would make), "study" (one as it stands), "list"
(the visitor's studies), "begun" (its id), "adopted" (the form has the settings of the sample or of a file,
and these are the axes), "card" (a cell's picture), "archive" (its address), "said" (a sentence).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

import gradio as gr
from pydantic import BeforeValidator, Field

from gspn_core.errors import BadSetting, GspnError
from gspn_core.files import write_failure
from gspn_core.planning.types import ModelCard
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import FIELD_NAMES, OVERRIDABLE, Settings
from gspn_core.studies.axis import (
    AXIS_NAMES,
    MOST_AXES,
    Axis,
    example,
    parse_axis,
    with_first_values,
)
from gspn_core.studies.export import write_export
from gspn_core.studies.runner import Studies
from gspn_core.studies.study import Cell, Draft, StudyView
from ui.compare.compare import find_item
from ui.form.form import Form, is_offered, settings_from
from ui.guard.files import file_url
from ui.guard.payload import Items, Name, Payload, Whole, as_mapping, as_text, read, visitor_of
from ui.lab.grid import base_rows, cells_done, grid_props, hint, title, typed
from ui.lab.opened import opened
from ui.lab.sample import adopted, sample_props
from ui.shared.gradio_private import sent_with
from ui.shared.part import html_part
from ui.shared.strings import lab_strings, labels, studio_strings
from ui.studio.ladder import picture_props

# The longest text of an axis that is read, in characters; the prompts of a study of 64 fit.
_MOST_AXIS_CHARACTERS = 100_000


class AxisAsked(Payload):
    """One axis as it is typed. stage: of which stage alone, "" for all."""

    name: Name = ""
    text: Annotated[str, BeforeValidator(as_text), Field(max_length=_MOST_AXIS_CHARACTERS)] = ""
    stage: str | int | None = None


class AxesAsked(Payload):
    """The axes of a study to come. turn: comes back as it was sent."""

    axes: Annotated[list[Annotated[AxisAsked, BeforeValidator(as_mapping)]], Items] = []
    turn: int | None = None


class StudyAsked(Payload):
    """A study, and what is to be done with it or with one of its cells."""

    study: Name = ""
    what: Name = ""
    cell: Whole = -1


class CellAsked(Payload):
    """A cell's picture, as "run.stage"."""

    ref: Name = ""


def build_lab(card: ModelCard, grid: StudyView | None = None) -> gr.HTML:
    """Draw the place into the open gradio block; it is filled when it is first entered.

    Args:
        card: The model's.
        grid: A finished grid that is shown until the visitor has one.
    """
    names = [
        [name, labels.LABELS[name], example(name, card), name in OVERRIDABLE, hint(name, card)]
        for name in AXIS_NAMES
        if is_offered(name, card)
    ]
    presets = [
        [label, [list(axis) for axis in axes]]
        for label, axes in lab_strings.PRESETS
        if all(is_offered(name, card) for name, _ in axes)
    ]
    return html_part(
        "lab",
        "lab",
        {"kind": "none"},
        names=names,
        presets=presets,
        stages=list(card.targets),
        sample=None if grid is None else sample_props(grid),
    )


def wire_lab(
    parts: dict[str, Any],
    form: Form,
    studies: Studies,
    jobs: RunQueue,
    card: ModelCard,
    following: Mapping[str, Any],
    grid: StudyView | None = None,
) -> None:
    """Let the place price, begin, follow and change studies.

    Args:
        parts: The page's parts by name.
        form: The Studio's, whose settings are a study's base.
        studies: The studies.
        jobs: The runs of their cells.
        card: The model's.
        following: Options of an event that goes on.
        grid: What the place opens with.
    """
    lab = Lab(studies, jobs, card)
    quiet = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
        "trigger_mode": "multiple",
        "preprocess": False,
    }
    part, visitor = parts["lab"], parts["visitor"]

    def price(event: gr.EventData, *values: Any) -> dict[str, Any]:
        return lab.price(sent_with(event), values)

    def begin(event: gr.EventData, token: str | None, *values: Any) -> dict[str, Any]:
        return lab.begin(sent_with(event), values, visitor_of(token))

    def change(token: str | None, event: gr.EventData) -> dict[str, Any]:
        return lab.change(sent_with(event), visitor_of(token))

    def archive(event: gr.EventData) -> dict[str, Any]:
        return lab.archive(sent_with(event))

    def enlarge(event: gr.EventData) -> dict[str, Any]:
        return lab.card(sent_with(event))

    def studies_of(token: str | None) -> dict[str, Any]:
        return lab.listed(visitor_of(token))

    def watch(token: str | None, event: gr.EventData) -> Iterator[dict[str, Any]]:
        yield from lab.watch(sent_with(event), visitor_of(token))

    def adopt(*values: Any) -> list[Any]:
        answer = {"kind": "adopted", "axes": typed(grid.axes), "turn": time.monotonic_ns()}
        return [answer, *adopted(grid, values, card)]

    def open_grid(event: gr.EventData, *values: Any) -> list[Any]:
        return opened(sent_with(event), values, card)

    part.open_grid(open_grid, form.inputs, [part, parts["drop"], *form.inputs], **quiet)
    if grid is not None:
        part.adopt(adopt, form.inputs, [part, parts["drop"], *form.inputs], **quiet)
    part.price(price, form.inputs, part, **quiet)
    part.begin(begin, [visitor, *form.inputs], part, **quiet)
    part.change_study(change, visitor, part, **quiet)
    part.archive(archive, None, part, **quiet)
    part.enlarge(enlarge, None, part, **quiet)
    part.studies(studies_of, visitor, part, **quiet)
    part.watch(watch, visitor, part, trigger_mode="multiple", preprocess=False, **following)


class Lab:
    """What the place asks for, answered as plain values ready for JSON."""

    def __init__(self, studies: Studies, jobs: RunQueue, card: ModelCard) -> None:
        self._studies, self._jobs, self._card = studies, jobs, card

    def price(self, sent: Any, values: Sequence[Any]) -> dict[str, Any]:
        """Return what the axes would make of the form: counts, cost, or what is wrong with which axis.

        turn: comes back as it was asked with, so that a late answer can be recognised.
        """
        asked = read(AxesAsked, sent)
        axes, answers = self._axes(asked)
        shown: dict[str, Any] = {
            "kind": "setup",
            "axes": answers,
            "error": "",
            "cost": "",
            "base": [],
            "ready": False,
            "turn": asked.turn,
        }
        try:
            base = _base_of(values, axes)
        except BadSetting as refusal:
            return {**shown, "error": labels.said(str(refusal))}
        shown["base"] = base_rows(base, axes)
        if any(axis["error"] for axis in answers):
            return shown
        if not axes:
            return {**shown, "cost": lab_strings.NO_VALUES}
        try:
            planned = self._studies.draft(base, axes)
        except BadSetting as refusal:
            return {**shown, "error": labels.said(str(refusal))}
        return {**shown, "cost": lab_strings.study_cost(self._studies.cost(planned)), "ready": True}

    def begin(self, sent: Any, values: Sequence[Any], visitor: str) -> dict[str, Any]:
        """Begin the study of these axes and the form; what is wrong is said as `price` says it."""
        shown = self.price(sent, values)
        if not shown["ready"]:
            return shown
        axes, _ = self._axes(read(AxesAsked, sent))
        try:
            planned: Draft = self._studies.draft(_base_of(values, axes), axes)
            return {"kind": "begun", "id": self._studies.start(planned, visitor=visitor)}
        except GspnError as refusal:
            return {**shown, "error": labels.said(str(refusal))}

    def card(self, sent: Any) -> dict[str, Any]:
        """Return a cell's picture as a viewer shows it, or the sentence why there is none."""
        ref = read(CellAsked, sent).ref
        answer = {"kind": "card", "ref": ref, "card": None, "error": ""}
        try:
            item = find_item(self._jobs, ref)
        except GspnError as refusal:
            return {**answer, "error": labels.said(str(refusal))}
        prompt = str(item.job.settings.get("prompt", ""))
        alt = studio_strings.picture_alt(prompt, item.stage.height, item.stage.width)
        return {**answer, "card": picture_props(item.stage, alt)}

    def watch(self, sent: Any, visitor: str) -> Iterator[dict[str, Any]]:
        """Tell a study as it goes on, to its end."""
        study_id = read(StudyAsked, sent).study[:64]
        try:
            with closing(self._studies.follow(study_id)) as views:
                for view in views:
                    yield {"kind": "study", "study": self.study_props(view, visitor)}
        except GspnError as refusal:
            yield {"kind": "said", "said": str(refusal), "lost": study_id}

    def change(self, sent: Any, visitor: str) -> dict[str, Any]:
        """Stop, resume or remove a study, skip or retry a cell; a refusal is said in its sentence."""
        asked = read(StudyAsked, sent)
        study_id, what, cell = asked.study[:64], asked.what, asked.cell
        try:
            if what == "stop":
                self._studies.stop(study_id, visitor=visitor)
            elif what == "resume":
                self._studies.resume(study_id, visitor=visitor)
            elif what == "skip":
                self._studies.skip(study_id, cell, visitor=visitor)
            elif what == "retry":
                self._studies.retry(study_id, cell, visitor=visitor)
            elif what == "remove":
                self._studies.delete(study_id, visitor=visitor)
                return self.listed(visitor) | {"lost": study_id}
        except GspnError as refusal:
            return {"kind": "said", "said": str(refusal)}
        # Whoever watched it to its end begins again.
        return {"kind": "begun", "id": study_id}

    def archive(self, sent: Any) -> dict[str, Any]:
        """Write a study's archive and return its address."""
        study_id = read(StudyAsked, sent).study
        try:
            view = self._studies.view(study_id)
            path = self._studies.folder_of(study_id) / "study.zip"
            write_export(path, view, self._job)
        except OSError as error:
            return {"kind": "said", "said": write_failure(lab_strings.ARCHIVE, error)}
        except GspnError as refusal:
            return {"kind": "said", "said": str(refusal)}
        # The address differs each time, so that no browser shows an older one.
        url = f"{file_url(str(path))}?t={time.time_ns()}"
        return {"kind": "archive", "url": url, "name": f"gspn-study-{study_id[:8]}.zip"}

    def listed(self, visitor: str) -> dict[str, Any]:
        """Return the visitor's studies, the newest first."""
        studies = [
            {
                "id": view.id,
                "title": title(view.axes),
                "state": lab_strings.STUDY_STATES[view.state],
                "created": view.created,
                "count": cells_done(view),
            }
            for view in self._studies.list(visitor)
        ]
        return {"kind": "list", "studies": studies}

    def study_props(self, view: StudyView, visitor: str) -> dict[str, Any]:
        """Return a study as a grid: the last axis across, the other down."""
        return grid_props(
            view,
            self._cell_thumb,
            own=self._studies.is_own(view.id, visitor),
            tells_adherence=self._studies.tells_adherence,
        )

    def _cell_thumb(self, _number: int, cell: Cell) -> str | None:
        # A cell that waits has no run, and so no folder to ask for.
        if cell.job_id is None or cell.stage is None:
            return None
        return f"{file_url(str(self._jobs.thumb_file(cell.job_id)))}?v={cell.stage}"

    def _axes(self, asked: AxesAsked) -> tuple[list[Axis], list[dict[str, Any]]]:
        """Return the axes that could be read, and of each asked for its count or what is wrong with it."""
        axes, answers = [], []
        for given in asked.axes[:MOST_AXES]:
            try:
                axis = parse_axis(given.name, given.text, self._card, _stage_px(given.stage))
            except BadSetting as refusal:
                answers.append({"count": "", "error": labels.said(str(refusal)) if given.text else ""})
                if not given.text:
                    answers[-1]["waiting"] = True
                continue
            axes.append(axis)
            answers.append({"count": lab_strings.values_counted(len(axis.values)), "error": ""})
        if len(axes) < len(answers) and not any(axis["error"] for axis in answers):
            # An axis without values yet: nothing is wrong, and there is nothing to price.
            return [], answers
        return axes, answers

    def _job(self, job_id: str) -> Any:
        try:
            return self._jobs.view(job_id)
        except GspnError:
            return None


def _stage_px(stage: str | int | None) -> int | None:
    """Return the stage that an axis is of alone, None for all."""
    text = str(stage)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


def _base_of(values: Sequence[Any], axes: Sequence[Axis]) -> Settings:
    """Return the form's settings; what an axis gives instead need not be right in the form."""
    given = with_first_values(dict(zip(FIELD_NAMES, values, strict=True)), axes)
    return settings_from([given[name] for name in FIELD_NAMES])
