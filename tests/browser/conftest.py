"""A Chromium and the real app, started as a person would start it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START_SECONDS = 240
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Everything here may run on a busy machine of two cores.
TIMEOUT_MS = 240_000


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
def address(tmp_path_factory) -> Iterator[str]:
    """Start app.py on a free port and return its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    jobs = tmp_path_factory.mktemp("browser") / "jobs of a visitor"
    log = tmp_path_factory.mktemp("browser") / "app.log"
    command = [sys.executable, "app.py", "--port", str(port), "--jobs", str(jobs), "--device", "cpu"]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=os.environ)
    try:
        yield _answering(f"http://127.0.0.1:{port}/", server, log)
    finally:
        server.terminate()
        server.wait(30)


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


@pytest.fixture
def visit(chromium, address) -> Iterator[Callable]:
    """Return a function that opens the page; at the end no visit may have asked elsewhere or met an error."""
    contexts, elsewhere, errors = [], [], []

    def open_page(width: int = 1440, height: int = 900, path: str = "", **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: _note_elsewhere(request.url, address, elsewhere))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address + path)
        page.wait_for_selector("#run")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert elsewhere == []
    assert errors == []


def _note_elsewhere(url: str, address: str, elsewhere: list[str]) -> None:
    if not url.startswith((address, "data:", "blob:")):
        elsewhere.append(url)
