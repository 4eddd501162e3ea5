"""A parameter study as plain records: its cells, what they cost, and the view that a page draws. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gspn_core.errors import BadSetting
from gspn_core.planning.types import CascadePlan, StagePlan
from gspn_core.runs.records import check_record
from gspn_core.settings import Settings
from gspn_core.studies.axis import MAX_CELLS, Axis, cells_of

CellState = Literal["waiting", "running", "done", "failed", "skipped"]
StudyState = Literal["running", "stopped", "done"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study.

    Args:
        values: its value on each axis.
        settings: of its run.
        state: of the cell.
        job_id: of its latest run.
        stage: index of the stage that runs.
        progress: share of the run's steps that are done.
        seconds: of computing, including what cached stages took originally.
        saved_seconds: the cached part of `seconds`.
        processor_seconds: of all cores together, for the same work; None if unknown or on a GPU. Other
            programs slow down a run, and leave this as it is.
        peak_bytes: the highest memory of its run.
        consistency: in dB, None until the cell is done or where it does not apply (see `gspn_core.metrics`);
            likewise detail (a share) and adherence (the share of the prompt that is seen in the picture).
        error: why its run failed.
    """

    values: tuple[Any, ...]
    settings: dict[str, Any]
    state: CellState = "waiting"
    job_id: str | None = None
    stage: int | None = None
    progress: float = 0.0
    seconds: float | None = None
    saved_seconds: float | None = None
    processor_seconds: float | None = None
    peak_bytes: int | None = None
    consistency: float | None = None
    detail: float | None = None
    adherence: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """The state of a study; `version` increases with every change.

    order: the numbers of the cells in the order in which they run. created: seconds since 1970. notice: one
    sentence about why it waits, if it does.
    """

    id: str
    created: float
    base: dict[str, Any]
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]
    order: tuple[int, ...]
    state: StudyState = "running"
    notice: str = ""
    version: int = 0

    def next_cell(self, taken: Collection[int] = ()) -> int | None:
        """Return the number of the cell to run next but for those in `taken`, None if none waits."""
        waiting = (number for number in self.order if self.cells[number].state == "waiting")
        return next((number for number in waiting if number not in taken), None)

    def with_cell(self, number: int, **changes: Any) -> StudyView:
        """Return the view with one cell changed."""
        cell = dataclasses.replace(self.cells[number], **changes)
        cells = (*self.cells[:number], cell, *self.cells[number + 1 :])
        return dataclasses.replace(self, cells=cells, version=self.version + 1)

    def changed(self, **changes: Any) -> StudyView:
        """Return the view with other values and the next version."""
        return dataclasses.replace(self, **changes, version=self.version + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the view as JSON-ready names and values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StudyView:
        """Return the view that `to_dict` wrote; raise TypeError, KeyError or ValueError for anything else."""
        view = cls(
            **{
                **values,
                "axes": tuple(Axis(**{**a, "values": tuple(a["values"])}) for a in values["axes"]),
                "cells": tuple(Cell(**{**c, "values": tuple(c["values"])}) for c in values["cells"]),
                "order": tuple(values["order"]),
            }
        )
        check_record(view)
        count = math.prod(len(axis.values) for axis in view.axes)
        if view.version < 0 or len(view.cells) != count or not set(view.order) <= set(range(count)):
            raise ValueError("version, cells or order")
        return view


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a study: stages that run, each once, and those that are cached or shared.

    pictures: how many different ones; equal cells are drawn once. calls: evaluations of the UNet, None while
    the model is loaded. seconds: None until stages of these sizes have been timed on this machine.
    """

    cells: int
    pictures: int
    stages_to_run: int
    stages_shared: int
    calls: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A study that is planned but not started."""

    base: Settings
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]
    plans: tuple[CascadePlan, ...]
    order: tuple[int, ...] = field(default=())


def draft(
    base: Settings,
    axes: Sequence[Axis],
    plan: Callable[[Settings], CascadePlan],
    *,
    most_cells: int = MAX_CELLS,
    spread: bool = False,
) -> Draft:
    """Return the cells of a study with their plans; raise BadSetting for the first that cannot run.

    An open seed is drawn once for all cells, unless it is an axis. Cells with the same first stages run one
    after another, so that shared stages are computed once and seen early; spread: on several workers, one of
    each that share stages first, and the most expensive of them first.
    """
    seed = plan(base).settings.seed if base.seed is None else base.seed
    fixed = dataclasses.replace(base, seed=seed)
    drafted = cells_of(fixed, axes, most=most_cells)
    plans = tuple(_planned(plan, values, settings) for values, settings in drafted)
    cells = tuple(
        Cell(values=values, settings=made.settings.to_dict())
        for (values, _), made in zip(drafted, plans, strict=True)
    )
    order = spread_order(plans) if spread else run_order(plans)
    return Draft(base=fixed, axes=tuple(axes), cells=cells, plans=plans, order=order)


def _planned(
    plan: Callable[[Settings], CascadePlan], values: Sequence[Any], settings: Settings
) -> CascadePlan:
    try:
        return plan(settings)
    except BadSetting as refusal:
        # Name the value that is wrong.
        shown = ", ".join(text if len(text) <= 40 else f"{text[:39]}…" for text in map(str, values))
        raise BadSetting(refusal.field, f"At {shown}: {refusal}") from None


def run_order(plans: Sequence[CascadePlan]) -> tuple[int, ...]:
    """Return the numbers of plans, those that share stages one after another, else in their order."""
    first: dict[str, int] = {}
    for number, plan in enumerate(plans):
        for stage in plan.stages:
            first.setdefault(stage.key, number)

    def place(number: int) -> tuple[int, ...]:
        return tuple(first[stage.key] for stage in plans[number].stages)

    return tuple(sorted(range(len(plans)), key=place))


def spread_order(plans: Sequence[CascadePlan]) -> tuple[int, ...]:
    """Return the numbers of plans for several workers.

    First one of each that share their first stage, so that the others find its picture, and the most
    expensive first, so that no worker is left with it at the end.
    """
    rank: dict[str, int] = {}
    places = []
    for number in run_order(plans):
        key = plans[number].stages[0].key
        rank[key] = rank.get(key, -1) + 1
        places.append((rank[key], -_expense(plans[number]), number))
    return tuple(number for *_, number in sorted(places))


def _expense(plan: CascadePlan) -> float:
    """Return what a plan costs against another: its seconds, or the pixels of its steps where unknown."""
    seconds = [stage.seconds for stage in plan.stages]
    if None not in seconds:
        return sum(seconds)
    return sum(stage.size.pixels * stage.steps for stage in plan.stages)


def cost(
    plans: Sequence[CascadePlan],
    *,
    is_there: Callable[[StagePlan], bool],
    calls_of: Callable[[StagePlan], float | None],
    seconds_of: Callable[[StagePlan, int], float | None],
    workers: int = 1,
) -> Cost:
    """Return the cost of a study's cells, each stage counted once by its key.

    is_there: returns whether a stage's picture is cached. calls_of: its evaluations of the UNet, None if
    unknown yet. seconds_of: the time of that many evaluations with encoding and decoding, None if unknown.
    workers: that share the cells; the longest cell is not shared.
    """
    longest = 0.0
    seen: set[str] = set()
    shared = calls = 0
    seconds: float | None = 0.0
    known = True
    for plan in plans:
        there, before = True, seconds
        for stage in plan.stages:
            there = there and is_there(stage)
            if there or stage.key in seen:
                shared += 1
                continue
            seen.add(stage.key)
            count = calls_of(stage)
            known = known and count is not None
            part = None if count is None else seconds_of(stage, count)
            seconds = None if seconds is None or part is None else seconds + part
            calls += count or 0
        longest = max(longest, (seconds or 0.0) - (before or 0.0))
    return Cost(
        cells=len(plans),
        pictures=len({plan.stages[-1].key for plan in plans}),
        stages_to_run=len(seen),
        stages_shared=shared,
        calls=calls if known else None,
        seconds=None if seconds is None else max(longest, seconds / max(1, workers)),
    )
