"""Progress of a long list of pictures: a bar on a terminal, else a line from time to time."""

import sys
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

# Called with what is made, how many are done, and the total.
OnProgress = Callable[[str, int, int], None]


class Progress:
    """Shows progress and the time left on stderr, or on a given stream."""

    def __init__(self, stream: TextIO | None = None, every_seconds: float = 10.0) -> None:
        """Args: every_seconds: how often a line is written where the stream is not a terminal."""
        self.stream, self.every_seconds = stream, every_seconds
        self._bar: tqdm | None = None

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done; the first call of a name starts its clock."""
        if self._bar is None or self._bar.desc != name:
            self.close()
            self._bar = self._open(name, done, total)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the bar that is open, if any."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _open(self, name: str, done: int, total: int) -> tqdm:
        stream = self.stream or sys.stderr
        live = stream.isatty()
        return (tqdm if live else _Lines)(
            desc=name,
            initial=done,
            total=total,
            file=stream,
            mininterval=0.1 if live else self.every_seconds,
            # Pictures take seconds and the first ones minutes, so the overall mean is the better estimate.
            smoothing=0.0,
            miniters=1,
        )


class _Lines(tqdm):
    """Progress as separate lines, for logs."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # noqa: ARG002
        """Write the state as a line."""
        self.fp.write(f"{msg or self}\n")
        self.fp.flush()
        return True

    def close(self) -> None:
        """Write the last state if it is not written yet."""
        if not self.disable and self.last_print_n < self.n:
            self.display()
        self.disable = True
