"""The page on ZeroGPU, which gives a GPU for one call: a real server, a real fork, the embedded model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from gspn_core.bench.visitor import Visitor

ROOT = Path(__file__).parents[1]
# The model is loaded before the page answers, on a machine that may be busy.
START_SECONDS = 300


@pytest.fixture
def served(free_port, tmp_path):
    """Serve the page with the stand-in of ZeroGPU's package; return its address and the file of its calls."""
    calls = tmp_path / "calls.jsonl"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent / "zerogpu"),
        "SPACES_ZERO_GPU": "true",
        "ZEROGPU_LOG": str(calls),
        # A forked process must not meet its parent's threads of OpenMP.
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    command = [sys.executable, "app.py", "--port", str(free_port), "--jobs", str(tmp_path / "jobs")]
    log = tmp_path / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--device", "cpu"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_hear_interrupts,
        )
    try:
        address = f"http://127.0.0.1:{free_port}/"
        _wait_for(address, server, log)
        yield address, calls
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            # Prints where each of its threads is.
            server.send_signal(signal.SIGABRT)
            server.wait(60)
            pytest.fail(f"the server did not end: {log.read_text()}")


def _hear_interrupts() -> None:
    # What a shell runs in the background ignores them, and so would the server that it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=10):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(address)


def test_a_cascade_runs_in_a_forked_process_and_can_be_stopped_there(served):
    address, calls = served
    visitor = Visitor(address)
    messages = list(visitor.run({"target": 512, "num_inference_steps": 2, "seed": 1}))
    assert len(messages) > 3
    job = next(filter(None, map(visitor.job_of, messages)))
    assert _state(calls.parent, job) == ("done", 2)
    (call,) = map(json.loads, calls.read_text().splitlines())
    assert call["child"] != call["server"]
    assert call["events"] > 6
    assert 30 <= call["seconds"] <= 300

    stopped = []

    def press_stop(message):
        job = visitor.job_of(message)
        if job and not stopped:
            stopped.append(job)
            threading.Timer(1.0, visitor.stop, [job]).start()

    for message in visitor.run({"target": 512, "num_inference_steps": 100, "seed": 2}):
        press_stop(message)
    assert _state(calls.parent, stopped[0])[0] == "stopped"
    assert json.loads(calls.read_text().splitlines()[-1])["stopped"]


def _state(folder: Path, job: str) -> tuple[str, int]:
    """Return how a run ended and how many stages it finished, as its record says."""
    view = json.loads((folder / "jobs" / job / "job.json").read_text())["view"]
    return view["state"], sum(stage["state"] == "done" for stage in view["stages"])
