"""What ZeroGPU's package does to a generator function, without a GPU: a request, a fork, pickles.

Put on the path in place of the real one. As there, the child inherits the server's memory, arguments and
events are pickled, a stop is seen after the next event, and an error arrives as the name of its class. Each
call is logged as a line of JSON in the file that the environment names.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from contextlib import suppress
from functools import wraps
from pathlib import Path

from gradio.context import LocalContext

_fork = multiprocessing.get_context("fork")


def GPU(*, duration):  # noqa: N802
    """Return a decorator for generator functions; duration is called with the function's arguments."""

    def decorate(task):
        @wraps(task)
        def call(*args):
            if LocalContext.request.get(None) is None:
                raise RuntimeError("no request: whose quota is it?")
            record = {"server": os.getpid(), "seconds": duration(*args), "events": 0, "stopped": False}
            ours, theirs = _fork.Pipe()
            stop = _fork.Event()
            child = _fork.Process(target=_iterate, args=(task, pickle.dumps(args), theirs, stop), daemon=True)
            child.start()
            theirs.close()
            record["child"] = child.pid
            try:
                while (kind_and_value := pickle.loads(ours.recv_bytes()))[0] != "end":
                    kind, value = kind_and_value
                    if kind == "error":
                        raise RuntimeError(value)
                    record["events"] += 1
                    yield value
            except GeneratorExit:
                record["stopped"] = True
                stop.set()
                raise
            finally:
                with suppress(EOFError, OSError):
                    while pickle.loads(ours.recv_bytes())[0] != "end":
                        pass
                child.join()
                with Path(os.environ["ZEROGPU_LOG"]).open("a", encoding="utf-8") as log:
                    log.write(json.dumps(record) + "\n")

        return call

    return decorate


def _iterate(task, arguments, pipe, stop) -> None:
    events = task(*pickle.loads(arguments))
    try:
        for event in events:
            if stop.is_set():
                events.close()
                break
            pipe.send_bytes(pickle.dumps(("event", event)))
    except Exception as error:
        pipe.send_bytes(pickle.dumps(("error", type(error).__name__)))
    pipe.send_bytes(pickle.dumps(("end", None)))
