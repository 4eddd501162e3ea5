"""The parameter lab: one or two settings over many values, a grid of runs. What lab.js shows and asks.

Each answer is known by its `kind`: "setup" (what the axes would make), "study" (one as it stands), "list"
(the visitor's studies), "begun" (its id), "card" (a cell's picture), "archive" (its address), "said" (a
sentence).
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
from gspn_core.studies.axis import AXIS_NAMES, Axis, example, parse_axis
from gspn_core.studies.export import write_export
from gspn_core.studies.runner import Studies
from gspn_core.studies.study import Cell, Draft, StudyView
from ui.compare.compare import find_item
from ui.form.form import Form, is_offered, settings_from
from ui.guard.files import file_url
from ui.guard.payload import Items, Name, Payload, Whole, as_mapping, as_text, read, visitor_of
from ui.lab.grid import axis_label, base_rows, curve, facts, hint, shown_value, title
from ui.shared.gradio_private import sent_with
from ui.shared.part import html_part
from ui.shared.strings import lab_strings, labels, studio_strings, units
from ui.studio.ladder import picture_props

MOST_AXES = 2
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


def build_lab(card: ModelCard) -> gr.HTML:
    """Draw the place into the open gradio block; it is filled when it is first entered."""
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
    return html_part("lab", "lab", {"kind": "none"}, names=names, presets=presets, stages=list(card.targets))


def wire_lab(
    parts: dict[str, Any],
    form: Form,
    studies: Studies,
    jobs: RunQueue,
    card: ModelCard,
    following: Mapping[str, Any],
) -> None:
    """Let the place price, begin, follow and change studies. following: options of an event that goes on."""
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
                "count": lab_strings.cells_done(_done(view), len(view.cells)),
            }
            for view in self._studies.list(visitor)
        ]
        return {"kind": "list", "studies": studies}

    def study_props(self, view: StudyView, visitor: str) -> dict[str, Any]:
        """Return a study as a grid: the last axis across, the other down."""
        axes = view.axes
        columns = axes[-1].values if axes else ()
        return {
            "id": view.id,
            "own": self._studies.is_own(view.id, visitor),
            "state": view.state,
            "state_word": lab_strings.STUDY_STATES[view.state],
            "title": title(axes),
            "notice": view.notice,
            "count": lab_strings.cells_done(_done(view), len(view.cells)),
            "progress": sum(_share(cell) for cell in view.cells) / max(1, len(view.cells)),
            "columns": list(map(shown_value, columns)),
            "rows": list(map(shown_value, axes[0].values)) if len(axes) > 1 else [""],
            "across": axis_label(axes[-1]) if axes else "",
            "down": axis_label(axes[0]) if len(axes) > 1 else "",
            "curve": curve(axes),
            "facts": facts(view),
            "cells": [self._cell(number, cell) for number, cell in enumerate(view.cells)],
            "tells_processor": any(cell.processor_seconds is not None for cell in view.cells),
            "tells_adherence": self._studies.tells_adherence
            or any(cell.adherence is not None for cell in view.cells),
        }

    def _cell(self, number: int, cell: Cell) -> dict[str, Any]:
        there = cell.job_id is not None and cell.stage is not None
        # A cell that waits has no run, and so no folder to ask for.
        thumb = file_url(str(self._jobs.thumb_file(cell.job_id))) if there else None
        return {
            "number": number,
            "state": cell.state,
            "label": ", ".join(map(shown_value, cell.values)),
            "thumb": f"{thumb}?v={cell.stage}" if there else None,
            "job": cell.job_id,
            "ref": f"{cell.job_id}.{cell.stage}" if there and cell.state == "done" else None,
            "progress": cell.progress,
            "word": labels.said(cell.error) if cell.error else lab_strings.CELL_STATES[cell.state],
            "figures": {
                "seconds": [cell.seconds, units.seconds(cell.seconds)],
                "processor": [cell.processor_seconds, units.seconds(cell.processor_seconds)],
                "memory": [cell.peak_bytes, units.bytes_(cell.peak_bytes)],
                "consistency": [cell.consistency, lab_strings.decibels_of(cell.consistency)],
                "detail": [cell.detail, lab_strings.share_of(cell.detail)],
                "adherence": [cell.adherence, units.percent(cell.adherence)],
            },
        }

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
    given = list(values)
    for axis in axes:
        if axis.stage_px is None:
            given[FIELD_NAMES.index(axis.name)] = axis.values[0]
    return settings_from(given)


def _done(view: StudyView) -> int:
    return sum(cell.state == "done" for cell in view.cells)


def _share(cell: Cell) -> float:
    return {"waiting": 0.0, "running": cell.progress}.get(cell.state, 1.0)
