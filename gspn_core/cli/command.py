"""What the command lines that run something have in common: the engine's options, exit codes, Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from PIL.Image import Image

from gspn_core.errors import (
    AdapterMismatch,
    BadSetting,
    CannotWrite,
    GspnError,
    ModelUnavailable,
    OutOfMemory,
)
from gspn_core.events import Event, ModelProgress
from gspn_core.models.catalog import Extras, find_card
from gspn_core.models.options import add_model_options, extras_of
from gspn_core.planning.types import CascadePlan
from gspn_core.settings import Settings

DONE, FAILED, USAGE, NO_MODEL, NO_MEMORY, NOT_WRITTEN, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


class Runner(Protocol):
    """What the commands need of an engine."""

    def plan(self, settings: Settings) -> CascadePlan:
        """Return what a run of these settings does; raise BadSetting."""

    def run(
        self,
        plan: CascadePlan,
        should_stop: Callable[[], bool],
        *,
        previews: bool,
        start: Image = ...,
        control_image: Image = ...,
    ) -> Generator[Event, None, None]:
        """Yield a run's events."""


Load = Callable[..., Runner]


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the model and of where it runs."""
    parser.add_argument("--model", default="world", metavar="NAME|PATH", help="model (default: world)")
    add_model_options(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--dtype", default="auto", help="torch dtype of the weights (default: auto)")


def engine_of(
    arguments: argparse.Namespace, on_progress: Callable[[ModelProgress], None], load: Load | None = None
) -> Runner:
    """Return the engine that parsed options name; `load` replaces `load_engine`. Raises ModelUnavailable."""
    return (load or load_engine)(
        arguments.model,
        device=arguments.device,
        dtype=arguments.dtype,
        extras=extras_of(arguments),
        on_progress=on_progress,
    )


def load_engine(
    model: str, *, device: str, dtype: str, extras: Extras, on_progress: Callable[[ModelProgress], None]
) -> Runner:
    """Return an engine with its model loaded.

    Raises:
        ModelUnavailable: It cannot be loaded, with the reason.
    """
    # A missing model is refused at once, before torch is imported.
    find_card(model, extras=extras)
    # Advice of transformers about packages that this project does not use would mix with the progress.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from gspn_core.engine import Engine
    from gspn_core.models.loading import load_model

    loaded = load_model(model, device=device, dtype=dtype, extras=extras, on_progress=on_progress)
    for note in loaded.notes:
        say(f"note: {note}")
    return Engine(loaded)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets; the second interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = signal.getsignal(signal.SIGINT)

    def request_stop(_number: int, _frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("\nstopping after this step; Ctrl-C again stops at once")

    signal.signal(signal.SIGINT, request_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def exit_code(error: GspnError) -> int:
    """Return the exit code of an error."""
    codes = {
        BadSetting: USAGE,
        ModelUnavailable: NO_MODEL,
        AdapterMismatch: NO_MODEL,
        OutOfMemory: NO_MEMORY,
        CannotWrite: NOT_WRITTEN,
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), FAILED)


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)
