"""Starting, reading the embedded model, serving the page and drawing ask no other host for anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

SERVED = """
import json, sys

asked = []

def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        asked.append(address[0] if isinstance(address, tuple) else "")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        asked.append(arguments[0] or "")

sys.addaudithook(hook)

import app
import httpx
from gspn_core.serving.engine_loader import load_engine

port = sys.argv[1]

def visit():
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
        for path in ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json"):
            client.get(path).raise_for_status()
        sent = {"prompt": "a lake", "target": 256, "num_inference_steps": 1, "seed": 1}
        run = client.post("/gradio_api/call/v2/run", json=sent).json()["event_id"]
        text = client.get(f"/gradio_api/call/run/{run}").text
        run = json.loads(text.rpartition("data: ")[2].splitlines()[0])[0]
        event = client.post("/gradio_api/call/v2/follow", json={"run_id": run}).json()["event_id"]
        text = client.get(f"/gradio_api/call/follow/{event}").text
        print("done" if '"state": "done"' in text else "not drawn")

flags = ["--port", port, "--jobs", sys.argv[2], "--device", "cpu", "--no-measuring"]
code = app.main(flags, load=load_engine, wait=visit)
own = {"127.0.0.1", "::1", "localhost", ""}
print(json.dumps([code, len(asked), sorted({str(one) for one in asked} - own)]))
"""


def test_no_other_host_is_asked_for_anything(free_port, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SERVED, str(free_port), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    lines = done.stdout.splitlines()
    assert "done" in lines, done.stderr[-3000:]
    code, count, others = json.loads(lines[-1])
    assert (code, others) == (0, []) and count > 5
