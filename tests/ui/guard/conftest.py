"""The whole page of a toy model, served on this machine, and files of the host that no visitor may read."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gspn_core.planning.plan import make_plan
from gspn_core.runs.queue import RunQueue
from gspn_core.settings import Settings
from gspn_core.studies.runner import Studies
from tests.drills.server import Address
from tests.ui.conftest import run_events
from ui.guard.connections import guard_connections
from ui.guard.hosts import allowed_hosts
from ui.page import build_page, launch_arguments

SECRET = "the-secret-of-this-host"
OWNER = "owner-of-the-secret-run"
VISITOR = "a-stranger-with-a-browser"


@dataclass(frozen=True, kw_only=True)
class Served(Address):
    """A page that is served. secrets: files that no visitor may read; run: a finished run with a note."""

    page: Any
    address: str
    jobs: RunQueue
    secrets: tuple[Path, ...] = ()
    run: str = ""


@contextmanager
def serving(card, folder: Path, port: int, **options: Any) -> Iterator[tuple[Any, RunQueue, httpx.Client]]:
    """Serve the page; options: of `launch`, and hosts and mcp."""

    def run(plan, _should_stop, **_options):
        yield from run_events(plan.settings, card)

    jobs = RunQueue(run, folder, plan=lambda settings: make_plan(settings, card), view_seconds=0.0)
    studies = Studies(jobs)
    page = build_page(jobs, card, studies=studies, weights=lambda _: None, machine=lambda: "a machine")
    hosts = options.pop("hosts", allowed_hosts("127.0.0.1", (), is_public=False))
    mcp = options.pop("mcp", False)
    try:
        page.launch(
            server_name="127.0.0.1",
            server_port=port,
            prevent_thread_lock=True,
            mcp_server=mcp,
            **options,
            **launch_arguments(
                folder, hosts=hosts, has_login="auth" in options, has_mcp=mcp, downloads=jobs.downloads
            ),
        )
        guard_connections(page.server)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
            yield page, jobs, client
    finally:
        page.close(verbose=False)
        studies.close()
        jobs.close()


@pytest.fixture(scope="session")
def port() -> int:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture(scope="session")
def toy_card():
    from gspn_core.planning.types import ModelCard

    return ModelCard(
        name="toy",
        title="Toy",
        description="draws toys",
        base_px=64,
        size_multiple=32,
        max_target_px=128,
        default_target_px=128,
        num_inference_steps=2,
        guidance_scale=4.0,
        upscale_strength=0.5,
        mixers=("gspn", "attention"),
        examples=("a toy house", "a toy boat"),
    )


@pytest.fixture(scope="session")
def served(toy_card, port, tmp_path_factory) -> Iterator[Served]:
    """Serve the page and three secret files: in a test's working directory, the temp folder, and a run."""
    folder = tmp_path_factory.mktemp("guard") / "jobs"
    with serving(toy_card, folder, port) as (page, jobs, client):
        run = jobs.submit(Settings(prompt="a toy", seed=1, target=64), visitor=OWNER)
        list(jobs.follow(run))
        jobs.annotate(run, OWNER, note=SECRET)
        here = tmp_path_factory.mktemp("working directory") / f"planted-{secrets.token_hex(4)}.txt"
        there = Path(tempfile.gettempdir()) / f"planted-{secrets.token_hex(4)}.txt"
        planted = (here, there, folder / run / "about.json")
        try:
            for path in planted[:2]:
                path.write_text(SECRET)
            assert all(SECRET in path.read_text() for path in planted)
            yield Served(
                port=port,
                session="a-page-of-a-stranger",
                page=page,
                address=str(client.base_url),
                jobs=jobs,
                client=client,
                secrets=planted,
                run=run,
                config=client.get("/config").json(),
            )
        finally:
            for path in planted[:2]:
                path.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _next_to_a_secret(request, monkeypatch) -> None:
    """Run a test of the served page where one of its secrets is: Gradio serves from its working directory."""
    if "served" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("served").secrets[0].parent)
