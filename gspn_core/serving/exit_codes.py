"""How the server ends, as the shell sees it."""

from __future__ import annotations

import sys
from enum import IntEnum


class ExitCode(IntEnum):
    """Stopped on purpose, a bad argument or a taken port, no model that can be served."""

    DONE = 0
    USAGE = 2
    NO_MODEL = 3


def refuse(sentence: str, code: ExitCode) -> ExitCode:
    """Print an error to stderr and return the exit code that goes with it."""
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    return code
