"""Files that are written when they are asked for: known names alone, of runs that there are."""

from __future__ import annotations

import io
import socket
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from gspn_core.settings import Settings
from tests.ui.guard.conftest import Served
from ui.guard.connections import guard_connections
from ui.guard.downloads import MOST_ZIPS_EACH

OWNER = "the owner of a removed run"
PIECE_BYTES = 256 * 1024
WHOLE = bytes(400 * PIECE_BYTES)


def address_of(served: Served, run: str, name: str) -> str:
    return f"/gradio_api/file={served.jobs.folder.as_posix()}/{run}/{name}"


@pytest.mark.parametrize(
    ("name", "kind"), [("stage-0-64x64.webp", "image/webp"), ("stage-0-64x64.jpeg", "image/jpeg")]
)
def test_a_stage_comes_in_another_format_and_may_be_kept(served: Served, name, kind):
    answer = served.client.get(address_of(served, served.run, name))
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert "immutable" in answer.headers["cache-control"]
    assert "sandbox" in answer.headers["content-security-policy"]
    assert (served.jobs.folder / served.run / name).is_file()


def test_a_zip_is_sent_as_it_is_made_and_leaves_no_file(served: Served):
    answer = served.client.get(address_of(served, served.run, "run.zip"))
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    assert "stage-0-64x64.png" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert not (served.jobs.folder / served.run / "run.zip").exists()


@pytest.mark.parametrize(
    "name",
    [
        "stage-0-63x64.webp",
        "stage-7-64x64.webp",
        "stage-0-64x64.gif",
        "film.webp",
        "job.zip",
        "about.json",
        "thumb.webp",
        "%66ilm.webp/../about.json",
    ],
)
def test_there_is_nothing_under_other_names(served: Served, name):
    assert served.client.get(address_of(served, served.run, name)).status_code == 404


@pytest.mark.parametrize("name", ["stage-0-64x64.webp", "stage-0-64x64.jpeg", "run.zip", "film.webp"])
def test_a_removed_run_has_none(served: Served, name):
    run = served.jobs.submit(Settings(prompt="a toy", seed=2, target=64), visitor=OWNER)
    list(served.jobs.follow(run))
    assert served.client.get(address_of(served, run, "stage-0-64x64.webp")).status_code == 200
    served.jobs.delete(run, OWNER)
    assert served.client.get(address_of(served, run, name)).status_code == 404


def test_a_request_that_sends_something_gets_nothing(served: Served):
    for method in ("POST", "PUT", "DELETE"):
        answer = served.client.request(method, address_of(served, served.run, "run.zip"))
        assert answer.status_code in (403, 404, 405)


def large() -> Iterator[bytes]:
    """Yield more than all buffers between a server and its visitor hold."""
    yield from [WHOLE[:PIECE_BYTES]] * (len(WHOLE) // PIECE_BYTES)


def rest_of(connection: socket.socket) -> bytes:
    """Return what was sent on a connection before it was dropped."""
    with suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(2**20), b""))
    return b""


@contextmanager
def slow_reader(served: Served) -> Iterator[socket.socket]:
    """Ask for a run's zip and take only the start of it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", served.port))
        address = address_of(served, served.run, "run.zip")
        connection.sendall(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
        yield connection


def test_a_visitor_who_takes_nothing_of_a_zip_makes_room_for_others(served: Served, monkeypatch, capfd):
    server = served.page.server
    monkeypatch.setattr(served.jobs.downloads, "zip_of", lambda _: large())
    monkeypatch.setattr(server.config, "http_protocol_class", server.config.http_protocol_class)
    guard_connections(server, take_seconds=1.0)
    address = address_of(served, served.run, "run.zip")
    with ExitStack() as stack:
        held = [stack.enter_context(slow_reader(served)) for _ in range(MOST_ZIPS_EACH)]
        assert served.client.get(address).status_code == 503
        time.sleep(3)
        assert all(len(rest_of(one)) < len(WHOLE) / 2 for one in held)
        assert served.client.get(address).content == WHOLE
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_zip_that_is_taken_too_slowly_does_not_end_as_if_it_were_whole(served: Served, monkeypatch, capfd):
    monkeypatch.setattr(served.jobs.downloads, "zip_of", lambda _: large())
    monkeypatch.setattr("ui.guard.downloads.BODY_SECONDS", 0.0)
    monkeypatch.setattr("ui.guard.downloads.SLOW_BYTES_A_SECOND", 2**50)
    with pytest.raises(httpx.TransportError):
        served.client.get(address_of(served, served.run, "run.zip"))
    assert "Traceback" not in "".join(capfd.readouterr())
    monkeypatch.undo()
    assert served.client.get(address_of(served, served.run, "run.zip")).status_code == 200
