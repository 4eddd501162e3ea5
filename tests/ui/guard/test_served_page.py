"""Fetched pictures leave no copies, and the page is whole under a proxy's path."""

from __future__ import annotations

import socket
from pathlib import Path

from gradio.utils import get_upload_folder

from tests.ui.guard.conftest import Served, serving


def test_a_fetched_picture_comes_from_its_run_and_leaves_no_copy(served: Served):
    fetch = next(one for one in served.events if one["api_name"] == "fetch")
    kept = set(Path(get_upload_folder()).rglob("*.png"))
    file = served.ask(fetch, [served.run, 0], None).json()["data"][0]
    assert file["path"].startswith(str(served.jobs.folder)) and file["orig_name"] == "gspn-64x64.png"
    assert served.client.get(file["url"]).content[:4] == b"\x89PNG"
    assert set(Path(get_upload_folder()).rglob("*.png")) == kept


def test_under_a_proxys_path_every_address_begins_with_it(toy_card, tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    names = {"x-forwarded-host": "studio.example", "x-forwarded-proto": "https", "host": "studio.example"}
    options = {"root_path": "/studio", "hosts": ("studio.example", "127.0.0.1")}
    with serving(toy_card, tmp_path / "jobs", port, **options) as (_page, _jobs, client):
        assert client.get("/config", headers=names).json()["root"] == "https://studio.example/studio"
        assert client.get("/", headers=names).status_code == 200
