"""Seconds from starting app.py to a page that answers."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gspn_core.bench.table import Table, median, spread

APP = Path(__file__).parents[2] / "app.py"
LIMIT_SECONDS = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--model", default="world")


def measure(arguments: argparse.Namespace) -> list[Table]:
    """Return a table with one row: until GET / answers 200."""
    seconds = [_start(arguments.model) for _ in range(arguments.repeats)]
    table = Table(title="python app.py", columns=("until", "seconds", "least–most"))
    table.rows.append(("the page answers", f"{median(seconds):.2f}", spread(seconds)))
    return [table]


def _start(model: str) -> float:
    with serving(model) as (_, seconds):
        return seconds


@contextmanager
def serving(model: str, *options: str) -> Iterator[tuple[str, float]]:
    """Serve the app on a free port of the loopback; yield its address and the seconds until it answered.

    options: further arguments of app.py. Runs are stored in a temporary folder.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, str(APP), "--host", "127.0.0.1", "--port", str(port)]
        command += ["--model", model, "--jobs", folder, *options]
        began = time.perf_counter()
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}/"
            yield address, _wait(address, server, began)
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(url: str, server: subprocess.Popen, began: float) -> float:
    while time.perf_counter() - began < LIMIT_SECONDS:
        if server.poll() is not None:
            raise SystemExit(f"app.py ended with exit code {server.returncode} before it answered.")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return time.perf_counter() - began
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise SystemExit(f"app.py did not answer within {LIMIT_SECONDS} seconds.")
