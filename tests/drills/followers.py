"""Connections that follow a waiting run and are dropped at once, while a newcomer opens the page."""

from __future__ import annotations

import json
import secrets
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gspn_core.settings import Settings
from tests.drills.figures import Figure
from tests.drills.server import Served, serving

OPEN_SECONDS = 1.0


def drill(count: int, tell: Callable[[int], None]) -> list[Figure]:
    """Let `count` connections follow a waiting run, drop them, and time what a newcomer waits for."""
    with tempfile.TemporaryDirectory(prefix="gspn-followers-") as folder, serving(Path(folder)) as served:
        for _ in range(2):
            run = served.jobs.submit(Settings(prompt="a toy", seed=1, target=512))
        streams = []
        for done in range(count):
            streams.append(follow(served, run))
            tell(done + 1)
        while_held = opened(served)
        for stream in streams:
            stream.close()
        wait = {"bound": OPEN_SECONDS, "unit": "s"}
        return [
            Figure(
                what=f"page for a newcomer while {count} connections follow a run",
                value=while_held,
                **wait,
            ),
            Figure(
                what="the same, once they were dropped", value=opened(served), bound=OPEN_SECONDS, unit="s"
            ),
            Figure(what="Run is answered then", value=started(served), **wait),
        ]


def opened(served: Served) -> float:
    """Return the seconds in which the page and its configuration are there."""
    began = time.perf_counter()
    for path in ("/", "/config"):
        served.client.get(path).raise_for_status()
    return time.perf_counter() - began


def started(served: Served) -> float:
    """Return the seconds in which the API's run is answered with an id."""
    event, arguments = served.event("run"), served.arguments("run", prompt="a toy", target=64)
    began = time.perf_counter()
    answer = served.ask(event, arguments).text
    if '"data"' not in answer:
        raise RuntimeError(f"Run was not answered: {answer[-300:]}")
    return time.perf_counter() - began


def follow(served: Served, run: str) -> socket.socket:
    """Return an open connection on which the server sends the views of a run."""
    event, session = served.event("follow"), secrets.token_hex(8)
    body = {"data": [run], "fn_index": event["id"], "session_hash": session}
    content = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    served.client.post("/gradio_api/queue/join", content=content, headers=headers).raise_for_status()
    stream = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    head = f"GET /gradio_api/queue/data?session_hash={session} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
    stream.sendall((head + "\r\n").encode())
    with suppress(TimeoutError):
        stream.recv(1024)
    return stream
