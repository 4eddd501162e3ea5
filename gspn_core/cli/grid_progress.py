"""The progress of a grid on a terminal: a bar over its cells, or a line per cell that ended."""

from __future__ import annotations

import sys

from tqdm import tqdm

from gspn_core.studies.study import Cell, StudyView

_BAR = "{l_bar}{bar}| {n:.1f} of {total} cells [{elapsed}<{remaining}{postfix}]"


class GridProgress:
    """On a terminal a bar on stderr, else one line per cell that ended."""

    def __init__(self, cells: int, *, quiet: bool) -> None:
        self._quiet = quiet
        self._cells = cells
        self._bar: tqdm | None = None
        # The number of each cell that has ended; cells of an earlier run are not said again.
        self._ended: set[int] | None = None

    def line(self, text: str) -> None:
        """Print a line."""
        if not self._quiet:
            tqdm.write(text, file=sys.stderr)
            sys.stderr.flush()

    def show(self, view: StudyView) -> bool:
        """Show a view of the grid; return whether a cell has ended since the last one."""
        ended = {number for number, cell in enumerate(view.cells) if cell.state not in ("waiting", "running")}
        before = ended if self._ended is None else self._ended
        self._ended = ended
        bar = self._opened(len(ended))
        for number in sorted(ended - before):
            cell = view.cells[number]
            if cell.state == "failed" or bar.disable:
                self.line(f"cell {number + 1}/{len(view.cells)}: {_ending(view, cell)}")
        bar.n = len(ended) + sum(cell.progress for cell in view.cells if cell.state == "running")
        bar.set_postfix_str(view.notice or _running(view), refresh=False)
        bar.refresh()
        return bool(ended - before)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def _opened(self, done: int) -> tqdm:
        if self._bar is None:
            self._bar = tqdm(
                total=self._cells,
                initial=done,
                file=sys.stderr,
                bar_format=_BAR,
                smoothing=0.0,
                dynamic_ncols=True,
                disable=self._quiet or not sys.stderr.isatty(),
            )
        return self._bar


def _running(view: StudyView) -> str:
    return next((_label(view, cell) for cell in view.cells if cell.state == "running"), "")


def _ending(view: StudyView, cell: Cell) -> str:
    label = _label(view, cell)
    if cell.state == "done":
        return f"{label} done in {(cell.seconds or 0.0) - (cell.saved_seconds or 0.0):.1f} s"
    return f"{label} {cell.state}" + (f": {cell.error}" if cell.error else "")


def _label(view: StudyView, cell: Cell) -> str:
    texts = (f"{value:g}" if isinstance(value, float) else str(value) for value in cell.values)
    shown = (text if len(text) <= 30 else f"{text[:29]}…" for text in texts)
    return ", ".join(f"{axis.name} {text}" for axis, text in zip(view.axes, shown, strict=True))
