"""A Chromium and the real app, started as a person would start it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gspn_core.images.png import write_proxy
from gspn_core.images.tiles import write_tiles
from gspn_core.runs.store import Store
from tests.browser.contexts import Contexts
from tests.browser.deep_zoom import SIZES, put_run, settled

ROOT = Path(__file__).parents[2]
START_SECONDS = 240
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Everything here may run on a busy machine of two cores.
TIMEOUT_MS = 240_000
# Its scripts hear keys and presses.
READY = "document.querySelector('#studio')?.dataset.state && document.querySelector('#run')"
STUDIO = Path(__file__).with_name("measured_app.py")
PAINTED_TIMEOUT_MS = 60_000


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; install chromium to drive the page")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def jobs_folder(tmp_path_factory) -> Path:
    """Return the folder in which the app keeps its runs."""
    return tmp_path_factory.mktemp("browser") / "jobs of a visitor"


@contextmanager
def serving(
    jobs_folder: Path,
    log: Path,
    port: int | None = None,
    script: str | Path = STUDIO,
    *,
    arguments: Sequence[str] = ("--mcp", "--no-examples"),
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start the app, on a free port unless one is given; yield its address and its process once it answers.

    script: what serves it. arguments: further ones of its command line.
    """
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    command = [sys.executable, str(script), "--port", str(port), "--jobs", str(jobs_folder)]
    command += ["--device", "cpu", *arguments]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=os.environ)
    try:
        yield _answering(f"http://127.0.0.1:{port}/", server, log), server
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def serve():
    """Return what starts a server of the test's own: jobs folder, log and port to address and process."""
    return serving


@pytest.fixture(scope="session")
def serve_with():
    """Return the same for fixtures that outlive a test."""
    return serving


@pytest.fixture(scope="session")
def serve_script():
    """Return what serves it by another script: script, jobs folder and log to address and process."""
    return lambda script, jobs_folder, log: serving(jobs_folder, log, script=script)


@pytest.fixture(scope="session")
def address(tmp_path_factory, jobs_folder) -> Iterator[str]:
    """Start the app on a free port and return its address once it answers."""
    with serving(jobs_folder, tmp_path_factory.mktemp("browser") / "app.log") as (address, _server):
        yield address


def _answering(address: str, server: subprocess.Popen, log: Path) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"app.py ended with {server.returncode}:\n{log.read_text()}")
        try:
            direct.open(address, timeout=5).read()
            return address
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"app.py did not answer within {START_SECONDS} s:\n{log.read_text()}")


class Visits:
    """Opens the page, each time as a new visitor, and notes what was asked elsewhere and what went wrong."""

    def __init__(
        self, chromium: Any, address: str, timeout_ms: int = TIMEOUT_MS, contexts: Contexts | None = None
    ) -> None:
        self._timeout_ms = timeout_ms
        self._address = address
        # A server of a test's own has its own files.
        self._own = None if contexts else Contexts(chromium, address.rstrip("/"))
        self._contexts: Contexts = contexts or self._own
        self._taken: list[Any] = []
        self.elsewhere: list[str] = []
        self.errors: list[str] = []

    def __call__(
        self,
        width: int = 1440,
        height: int = 900,
        path: str = "",
        before: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> Any:
        """Return a page once it is there; `before` is called with it before it asks for anything."""
        context, page = self._contexts.take(width, height, **options)
        self._taken.append(context)
        page.set_default_timeout(self._timeout_ms)
        page.on("request", lambda request: self._note_request(request.url))
        page.on("console", lambda message: self._note_error(message.text, message.type))
        page.on("pageerror", lambda error: self._note_error(str(error), "error"))
        if before is not None:
            before(page)
        page.goto(self._address + path)
        page.wait_for_function(READY)
        return page

    def reload(self, page: Any) -> None:
        """Refresh a page; that its stream is cut by this is not an error."""
        before = list(self.errors)
        self.refresh(page)
        cut = ("AbortError", "Unexpected error Connection errored out", "Failed to fetch", "network error")
        self.errors = before + [e for e in self.errors[len(before) :] if not any(word in e for word in cut)]

    @staticmethod
    def refresh(page: Any) -> None:
        """Reload a page, also one that just then reloads by itself, as its server is another."""
        from playwright.sync_api import Error

        try:
            page.reload()
        except Error as error:
            if "ERR_ABORTED" not in str(error):
                raise
            page.wait_for_load_state()
        page.wait_for_function(READY)

    def close(self) -> None:
        """Let every visitor go."""
        if self._own is not None:
            self._own.close()
            return
        for context in self._taken:
            self._contexts.give_back(context)

    def _note_request(self, url: str) -> None:
        if not url.startswith((self._address, "data:", "blob:")):
            self.elsewhere.append(url)

    def _note_error(self, text: str, kind: str) -> None:
        if kind == "error":
            self.errors.append(text)


@pytest.fixture
def visit_at(chromium) -> Iterator[Any]:
    """Return what makes visits to an address, which may end while they last."""
    opened: list[Visits] = []

    def make(address: str) -> Visits:
        opened.append(Visits(chromium, address))
        return opened[-1]

    yield make
    for visits in opened:
        visits.close()


@pytest.fixture(scope="session")
def contexts(chromium, address) -> Iterator[Contexts]:
    """Return the contexts in which tests visit the app one after another."""
    contexts = Contexts(chromium, address.rstrip("/"))
    yield contexts
    contexts.close()


@pytest.fixture(scope="session")
def painted_contexts(chromium, painted_address) -> Iterator[Contexts]:
    """Return the same for the app over a model that paints."""
    contexts = Contexts(chromium, painted_address.rstrip("/"))
    yield contexts
    contexts.close()


@pytest.fixture
def visit(chromium, address, contexts) -> Iterator[Visits]:
    """Return what opens the page; at the end no visit may have asked elsewhere or met an error."""
    visits = Visits(chromium, address, contexts=contexts)
    yield visits
    visits.close()
    assert visits.elsewhere == []
    assert visits.errors == []


@pytest.fixture(scope="session")
def painted_folder(tmp_path_factory) -> Path:
    """Return the folder in which the app that paints keeps its runs."""
    return tmp_path_factory.mktemp("painted") / "jobs"


@pytest.fixture(scope="session")
def painted_address(tmp_path_factory, painted_folder) -> Iterator[str]:
    """Start the app over a model that paints at once and return its address."""
    log = tmp_path_factory.mktemp("painted") / "app.log"
    with serving(painted_folder, log, script="tests/browser/painted_app.py") as (address, _server):
        yield address


@pytest.fixture
def visit_painted(chromium, painted_address, painted_contexts) -> Iterator[Visits]:
    """Return what opens its page, as `visit` does: for what depends on no real picture."""
    visits = Visits(chromium, painted_address, PAINTED_TIMEOUT_MS, painted_contexts)
    yield visits
    visits.close()
    assert visits.elsewhere == []
    assert visits.errors == []


@pytest.fixture(scope="session")
def stored(address, jobs_folder) -> str:
    """Put a finished run of two stages into the app's folder and return its id."""
    assert address
    return put_run(
        Store(jobs_folder), "deep-zoom-of-a-stored-run", SIZES, {"jpg": write_proxy, "tiles": write_tiles}
    )


@pytest.fixture
def deep(visit, stored):
    """Return what opens the stored run at its largest stage, as a phone or as a desk."""

    def open_it(**options):
        page = visit(path=f"?job={stored}", **options)
        page.wait_for_selector(".deep:not(.covered)")
        settled(page)
        return page

    return open_it
