"""GSPN Studio: read the command line and the environment, and serve the page.

Exit codes: 0 stopped on purpose, 2 a bad argument or a port that is taken, 3 no model that can be served.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Read by gradio and huggingface_hub when they are imported: this page reports nothing to anyone.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Read by transformers: its advice about packages that this project does not use stays out of the log.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from gspn_core.serving.engine_loader import LoadEngine, load_engine
from gspn_core.serving.server import serve
from gspn_core.serving.server_options import parse_options
from gspn_core.serving.zerogpu import Decorator


def main(
    argv: Sequence[str] | None = None,
    *,
    load: LoadEngine = load_engine,
    wait: Callable[[], Any] | None = None,
) -> int:
    """Serve until interrupted and return the exit code.

    Args:
        argv: The command line; None takes the process's own.
        load: Returns the engine and a few words for the machine it runs on.
        wait: Returns when the server is to end; None serves until interrupted.
    """
    if argv is None:
        # A Space has no command line of its own, only variables.
        argv = [*shlex.split(os.environ.get("GSPN_ARGS", "")), *sys.argv[1:]]
    options = parse_options(argv, os.environ, Path(__file__).resolve().parent)
    return serve(options, load=load, zerogpu=_zerogpu_decorator() if options.on_zerogpu else None, wait=wait)


def _zerogpu_decorator() -> Decorator:
    # The package patches torch and so must be imported before it; elsewhere it is not installed.
    import spaces

    return spaces.GPU


if __name__ == "__main__":
    sys.exit(main())
