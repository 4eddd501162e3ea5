"""A small table of figures, as Markdown and as plain data, and one line about the machine."""

from __future__ import annotations

import datetime
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gspn_core.runtime.device import describe_machine, pick_device, processor, usable_cores


@dataclass(kw_only=True)
class Table:
    """Rows under named columns; every cell is text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the table as Markdown with its title above."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        body = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        return "\n\n".join((f"**{self.title}**", body, *self.notes))

    def to_dict(self) -> dict[str, Any]:
        """Return title, columns, rows and notes."""
        return {"title": self.title, "columns": self.columns, "rows": self.rows, "notes": self.notes}


def median(values: Sequence[float]) -> float:
    """Return the median of the runs."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Return "least–most" of the runs."""
    return f"{min(values):.3g}–{max(values):.3g}"


def machine_line() -> str:
    """Return the machine, the versions and the date in one line."""
    device = pick_device()
    name = describe_machine(device)
    if device.type == "cpu":
        name = f"{processor()}, {usable_cores()} cores, {torch.get_num_threads()} threads"
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}; {today}"
