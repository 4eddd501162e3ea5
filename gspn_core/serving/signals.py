"""Signals of a service manager and of a closed terminal, handled like Ctrl+C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Until an interrupt that was lost is sent again.
_AGAIN_SECONDS = 0.2


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt once, for the length of a `with` block.

    A signal that is ignored, as SIGHUP under nohup, stays ignored. One that arrives while a finalizer runs,
    from which no exception comes out, interrupts a moment later. Only the main thread can set handlers;
    in any other this does nothing.
    """
    before: dict[int, Any] = {}
    report = sys.unraisablehook

    def interrupt(_number: int, _frame: Any) -> None:
        # The cleanup that this starts must not be interrupted itself.
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    def send_again(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            report(lost)
            return
        for number in before:
            signal.signal(number, interrupt)
        again = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), next(iter(before))))
        again.daemon = True
        again.start()

    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
        for number in before:
            signal.signal(number, interrupt)
        if before:
            sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
