"""A run's view as text for a terminal: a progress line that is redrawn, or a line per finished stage."""

from __future__ import annotations

import sys

from gspn_core.events import ModelProgress
from gspn_core.runs.run import RunView

BAR_COLUMNS = 60


class Progress:
    """On a terminal a progress line on stderr that is redrawn, else one line per finished stage."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = not quiet and sys.stderr.isatty()
        self._printed = 0
        self._open = False

    def line(self, text: str) -> None:
        """Print a line."""
        if not self._quiet:
            self.end()
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def show(self, view: RunView) -> None:
        """Show the progress of a run."""
        done = [stage for stage in view.stages if stage.state == "done"]
        for stage in done[self._printed :]:
            place = f"stage {stage.index + 1}/{len(view.stages)}"
            peak = stage.peak_bytes / 2**20
            self.line(
                f"{place} {stage.width}×{stage.height} done in {stage.seconds:.1f} s, "
                f"{stage.memory_kind} memory at most {peak:,.0f} MiB"
            )
        self._printed = len(done)
        if self._live and view.stage is not None:
            sys.stderr.write("\r" + bar(view).ljust(BAR_COLUMNS))
            sys.stderr.flush()
            self._open = True

    def model(self, progress: ModelProgress) -> None:
        """Show the progress of loading a model, if the line can be redrawn."""
        if self._live and progress.total_bytes:
            verb = {"fetch": "fetching", "read": "reading"}[progress.doing]
            done, total = progress.done_bytes / 1e9, progress.total_bytes / 1e9
            text = f"{verb} {progress.part}: {done:.1f} of {total:.1f} GB"
            sys.stderr.write("\r" + text[:BAR_COLUMNS].ljust(BAR_COLUMNS))
            sys.stderr.flush()
            self._open = True

    def end(self) -> None:
        """Clear the progress line."""
        if self._open:
            sys.stderr.write("\r" + " " * BAR_COLUMNS + "\r")
            sys.stderr.flush()
            self._open = False


def bar(view: RunView) -> str:
    """Return the running stage in at most BAR_COLUMNS characters."""
    stage = view.stages[view.stage]
    share = stage.step / stage.steps
    filled = round(share * 16)
    at = stage.phase if stage.phase != "steps" else f"{stage.step}/{stage.steps}"
    left = "" if view.left_seconds is None else f" {_clock(view.left_seconds)} left"
    text = f"{stage.index + 1}/{len(view.stages)} {stage.width}×{stage.height} "
    text += f"[{'#' * filled}{'.' * (16 - filled)}] {at}{left}"
    return text[:BAR_COLUMNS]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
