"""Another visitor, in a process of its own: asks for something small again and again, `… visitor PORT`.

It ends with its standard input and then prints the seconds that each answer took, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.drills.server import client_of

PAUSE_SECONDS = 0.02
SMALL = "/gradio_api/startup-events"


@contextmanager
def another_visitor(port: int) -> Iterator[list[float]]:
    """Let another visitor ask meanwhile; the list that is yielded has the seconds of each wait at the end."""
    waits: list[float] = []
    command = [sys.executable, "-m", "tests.drills.visitor", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            # Its imports are not a wait.
            assert process.stdout.readline() == "ready\n"
            yield waits
        finally:
            waits += json.loads(process.communicate()[0] or "[]")


def ask_until(ended: threading.Event, port: int, on_ready: Callable[[], None]) -> list[float]:
    """Return the seconds that each answer took until `ended` is set. on_ready: called before the first."""
    waits = []
    with client_of(port) as client:
        # What the client imports and compiles for its first request is not the server's time.
        client.get(SMALL).raise_for_status()
        on_ready()
        while not ended.wait(PAUSE_SECONDS):
            began = time.perf_counter()
            client.get(SMALL).raise_for_status()
            waits.append(time.perf_counter() - began)
    return waits


def main() -> None:
    """Ask until standard input ends."""
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    waits = ask_until(ended, int(sys.argv[1]), lambda: print("ready", flush=True))
    print(json.dumps(waits))


if __name__ == "__main__":
    main()
