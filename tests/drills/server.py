"""The whole page with the toy model, served by this process or by one of its own.

`python -m tests.drills.server FOLDER PORT STEP_SECONDS` serves until it is ended.
"""

from __future__ import annotations

import ctypes
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gspn_core.runs.queue import RunQueue
from gspn_core.serving.garbage import freeze
from gspn_core.studies.runner import Studies
from tests.drills.stalls import watch_server
from tests.drills.toy import CARD, free_port, paint, plan_of
from ui.guard.connections import guard_connections
from ui.guard.hosts import allowed_hosts
from ui.page import build_page, launch_arguments

VISITOR = "a-visitor-of-this-drill"
START_SECONDS = 240
STALLS = "stalls.jsonl"
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2
JSON = {"content-type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a page is served, and how to ask it as its scripts do.

    session: of the events that wait in no queue; "" for one of each event's own. Gradio goes through all
    components of the page for every new one.
    """

    port: int
    client: httpx.Client
    config: dict[str, Any]
    session: str = ""

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return all events that have a handler here, published or not."""
        return [event for event in self.config["dependencies"] if event["backend_fn"]]

    def event(self, name: str) -> dict[str, Any]:
        """Return the event of that name."""
        return next(event for event in self.events if event["api_name"] == name)

    def values(self, event: dict[str, Any]) -> list[Any]:
        """Return what an event's inputs hold at first."""
        parts = {part["id"]: part["props"] for part in self.config["components"]}
        return [parts.get(one, {}).get("value") for one in event["inputs"]]

    def arguments(self, name: str, **given: Any) -> list[Any]:
        """Return the arguments of a published function, its defaults where none is given."""
        info = self.client.get("/gradio_api/info").json()["named_endpoints"][f"/{name}"]
        return [given.get(one["parameter_name"], one.get("parameter_default")) for one in info["parameters"]]

    def ask(self, event: dict[str, Any], data: list[Any], sent: Any = None) -> httpx.Response:
        """Return the answer to one event, whole to its end."""
        session = "" if event["queue"] else self.session
        session = session or secrets.token_hex(8)
        body = {
            "data": data,
            "fn_index": event["id"],
            "event_data": sent,
            "session_hash": session,
            "trigger_id": None,
        }
        content = json.dumps(body).encode()
        if not event["queue"]:
            return self.client.post("/gradio_api/run/predict", content=content, headers=JSON)
        joined = self.client.post("/gradio_api/queue/join", content=content, headers=JSON)
        if joined.status_code != 200:
            return joined
        return self.client.get(f"/gradio_api/queue/data?session_hash={session}")


@dataclass(frozen=True, kw_only=True)
class Served(Address):
    """A page that this process serves, and what serves it."""

    jobs: RunQueue
    server: Any


@contextmanager
def serving(
    folder: Path, *, step_seconds: float = 0.5, port: int | None = None, is_alone: bool = False
) -> Iterator[Served]:
    """Serve the page of the toy model, whose steps take so long, on a free port of this machine.

    is_alone: this process does nothing else, so that its memory is treated as the app does its own.
    """

    def run(*arguments: Any, **options: Any) -> Iterator[Any]:
        return paint(*arguments, step_seconds=step_seconds, **options)

    jobs = RunQueue(run, folder / "jobs", plan=plan_of, view_seconds=0.0)
    studies = Studies(jobs)
    page = build_page(jobs, CARD, studies=studies, weights=lambda _: None, machine=lambda: "a machine")
    hosts = allowed_hosts("127.0.0.1", (), is_public=False)
    port = port or free_port()
    if is_alone:
        freeze()
    try:
        page.launch(
            server_name="127.0.0.1",
            server_port=port,
            prevent_thread_lock=True,
            **launch_arguments(folder / "jobs", hosts=hosts, has_login=False, has_mcp=False),
        )
        guard_connections(page.server)
        with client_of(port) as client:
            config = client.get("/config").json()
            yield Served(port=port, jobs=jobs, server=page.server, client=client, config=config)
    finally:
        page.close(verbose=False)
        studies.close()
        jobs.close()


@contextmanager
def serving_apart(
    folder: Path, *, step_seconds: float = 0.0, obeys_permissions: bool = False
) -> Iterator[tuple[Address, subprocess.Popen, Path]]:
    """Serve the same from a process of its own; yield where, that process, and the file of its log.

    obeys_permissions: a server of the superuser is refused what the folders' permissions do not give, too.
    """
    port, log = free_port(), folder / "server.log"
    command = [sys.executable, "-m", "tests.drills.server", str(folder), str(port), str(step_seconds)]
    with served_by(command, port, log, give_up_override if obeys_permissions else None) as (address, process):
        yield address, process, log


@contextmanager
def served_by(
    command: list[str], port: int, log: Path, prepare: Callable[[], None] | None = None
) -> Iterator[tuple[Address, subprocess.Popen]]:
    """Yield the page that a command serves at a port, and its process, which ends with the block.

    log: takes what the process writes. prepare: called in the process before its program.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=prepare)
    try:
        with client_of(port) as client:
            config = _answering(client, process, log)
            yield Address(port=port, client=client, config=config), process
    finally:
        process.terminate()
        process.wait(60)


def give_up_override() -> None:
    """Let the program that is started next obey the permissions of files, also where root runs it."""
    # capabilities(7); elsewhere the drill is for others than the superuser.
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def client_of(port: int) -> httpx.Client:
    """Return a client of a page on this machine."""
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)


def _answering(client: httpx.Client, process: subprocess.Popen, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            return client.get("/config").json()
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"the server of the drill did not answer:\n{log.read_text('utf-8', 'replace')}")


if __name__ == "__main__":
    where, at, step = sys.argv[1:]
    with serving(Path(where), step_seconds=float(step), port=int(at), is_alone=True) as served:
        watch_server(served.server, Path(where) / STALLS)
        threading.Event().wait()
